//! Figures of several brokers side by side: the median and the range of each, and how many times
//! better the first broker is than each of the others.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a figure is called, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// For people.
    pub name: &'static str,
    /// Of the figure.
    pub unit: &'static str,
    /// How many are shown.
    pub decimals: usize,
    /// Whether more of it is better.
    pub more_is_better: bool,
}

/// All figures of one run.
#[derive(Debug)]
pub struct Contest {
    /// Name and version; the first is compared with the others.
    brokers: Vec<(String, String)>,
    rows: Vec<Row>,
    remarks: Vec<String>,
}

/// One figure of one workload.
#[derive(Debug)]
struct Row {
    workload: &'static str,
    measure: Measure,
    /// Of each broker, once per round.
    runs: Vec<Vec<f64>>,
}

impl Contest {
    /// Between brokers, by name and version.
    #[must_use]
    pub fn new(brokers: Vec<(String, String)>) -> Contest {
        Contest { brokers, rows: Vec::new(), remarks: Vec::new() }
    }

    /// Adds one round's figure of the broker at this place.
    pub fn add(&mut self, broker: usize, workload: &'static str, measure: Measure, value: f64) {
        let is_it = |row: &Row| row.workload == workload && row.measure == measure;
        let at = self.rows.iter().position(is_it).unwrap_or_else(|| {
            let runs = vec![Vec::new(); self.brokers.len()];
            self.rows.push(Row { workload, measure, runs });
            self.rows.len() - 1
        });
        self.rows[at].runs[broker].push(value);
    }

    /// Adds a line of text, once.
    pub fn remark(&mut self, text: String) {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    /// As a table in Markdown, versions and remarks below it.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from("| workload | figure | unit |");
        for (name, _) in &self.brokers {
            let _ = write!(text, " {name} |");
        }
        text.push_str("\n| --- | --- | --- |");
        text.push_str(&" --- |".repeat(self.brokers.len()));
        text.push('\n');
        for row in &self.rows {
            let Measure { name, unit, .. } = row.measure;
            let _ = write!(text, "| {} | {name} | {unit} |", row.workload);
            for broker in 0..self.brokers.len() {
                let _ = write!(text, " {} |", row.cell(broker));
            }
            text.push('\n');
        }
        text.push_str("\n×: how many times better the first broker's median is.\n");
        for (name, version) in &self.brokers {
            let _ = writeln!(text, "{name}: {version}");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{remark}");
        }
        text
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut figures = Vec::new();
        for row in &self.rows {
            for (at, (broker, _)) in self.brokers.iter().enumerate() {
                figures.push(json!({
                    "workload": row.workload, "figure": row.measure.name,
                    "unit": row.measure.unit, "broker": broker,
                    "median": row.sorted(at).map(|runs| runs[runs.len() / 2]),
                    "runs": row.runs[at], "times_better": row.times_better(at),
                }));
            }
        }
        let brokers: Vec<Value> = self
            .brokers
            .iter()
            .map(|(name, version)| json!({ "name": name, "version": version }))
            .collect();
        json!({ "brokers": brokers, "figures": figures, "remarks": self.remarks })
    }
}

impl Row {
    /// A broker's runs from the least to the most; nothing if there are none.
    fn sorted(&self, broker: usize) -> Option<Vec<f64>> {
        let mut sorted = self.runs[broker].clone();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then_some(sorted)
    }

    /// How many times better the first broker is than this one.
    fn times_better(&self, broker: usize) -> Option<f64> {
        let median = |at| self.sorted(at).map(|runs| runs[runs.len() / 2]);
        let (first, other) = (median(0)?, median(broker)?);
        let ratio = if self.measure.more_is_better { first / other } else { other / first };
        (broker != 0).then_some(ratio)
    }

    fn cell(&self, broker: usize) -> String {
        let Some(runs) = self.sorted(broker) else { return "NOT measured".to_owned() };
        let decimals = self.measure.decimals;
        let (least, median, most) = (runs[0], runs[runs.len() / 2], runs[runs.len() - 1]);
        let [median, least, most] = [median, least, most].map(|figure| grouped(figure, decimals));
        let mut cell = format!("{median} ({least} – {most})");
        if let Some(ratio) = self.times_better(broker) {
            let _ = write!(cell, " **{ratio:.1}×**");
        }
        cell
    }
}

/// With a comma between thousands.
fn grouped(figure: f64, decimals: usize) -> String {
    let text = format!("{figure:.decimals$}");
    let digits = text.find('.').unwrap_or(text.len());
    let mut grouped = String::new();
    for (at, sign) in text.char_indices() {
        if at > 0 && at < digits && (digits - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(sign);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Measure =
        Measure { name: "rate", unit: "msg/s", decimals: 0, more_is_better: true };
    const P50: Measure = Measure { name: "p50", unit: "µs", decimals: 1, more_is_better: false };

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(1_234_567.0, 0), "1,234,567");
        assert_eq!(grouped(123.0, 0), "123");
        assert_eq!(grouped(4321.5678, 2), "4,321.57");
    }

    #[test]
    fn medians_are_compared_with_the_first_broker() {
        let names = ["ours", "theirs", "absent"];
        let named = names.iter().map(|name| ((*name).to_owned(), "1".to_owned()));
        let mut contest = Contest::new(named.collect());
        for (ours, theirs) in [(30.0, 5.0), (40.0, 10.0), (900.0, 20.0)] {
            contest.add(0, "live", RATE, ours);
            contest.add(1, "live", RATE, theirs);
        }
        contest.add(0, "live", P50, 2.0);
        contest.add(1, "live", P50, 3.0);
        let table = contest.table();
        assert!(table.contains(
            "| live | rate | msg/s | 40 (30 – 900) | 10 (5 – 20) **4.0×** | NOT measured |"
        ));
        assert!(table.contains("| 2.0 (2.0 – 2.0) | 3.0 (3.0 – 3.0) **1.5×** | NOT measured |"));
        let json = contest.json();
        assert_eq!(json["figures"][1]["times_better"], 4.0);
        assert!(json["figures"][2]["median"].is_null());
    }
}
