//! Figures: collected over repeated runs, shown as a table or as JSON, as median and range.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// A count as a number to calculate with.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "figures for people; counts stay below 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// What a load cost.
#[derive(Debug, Clone)]
pub struct Costs {
    /// Messages that arrived; copies count.
    pub messages: u64,
    /// How long it took.
    pub seconds: f64,
    /// The broker's processor time.
    pub broker_ns: u64,
    /// The load generator's processor time.
    pub client_ns: u64,
    /// The broker's processor time by name of the thread.
    pub threads: Vec<(String, u64)>,
    /// The most memory the broker had, in KiB.
    pub rss_peak_kib: u64,
    /// Bytes that were published.
    pub sent_bytes: f64,
}

/// One figure of one workload, once per run.
#[derive(Debug, Clone)]
struct Figure {
    workload: String,
    name: &'static str,
    unit: &'static str,
    decimals: usize,
    runs: Vec<f64>,
}

/// All figures.
#[derive(Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
    remarks: Vec<String>,
}

impl Report {
    /// Adds one run's figure.
    pub fn add(
        &mut self,
        workload: &str,
        (name, unit, decimals): (&'static str, &'static str, usize),
        value: f64,
    ) {
        let known =
            self.figures.iter_mut().find(|known| known.workload == workload && known.name == name);
        match known {
            Some(known) => known.runs.push(value),
            None => self.figures.push(Figure {
                workload: workload.to_owned(),
                name,
                unit,
                decimals,
                runs: vec![value],
            }),
        }
    }

    /// Adds the figures that every load has.
    pub fn add_costs(&mut self, workload: &str, costs: &Costs) {
        let messages = float(costs.messages);
        self.add(workload, ("rate", "msg/s", 0), messages / costs.seconds);
        self.add(workload, ("broker CPU", "µs/msg", 4), float(costs.broker_ns) / messages / 1e3);
        self.add(workload, ("client CPU", "µs/msg", 4), float(costs.client_ns) / messages / 1e3);
        let cores = float(costs.broker_ns) / costs.seconds / 1e9;
        self.add(workload, ("broker cores", "cores", 2), cores);
        self.add(workload, ("peak RSS", "MiB", 1), float(costs.rss_peak_kib) / 1024.0);
        let shares: Vec<_> = costs
            .threads
            .iter()
            .take(4)
            .map(|(name, ns)| format!("{name} {:.4}", float(*ns) / messages / 1e3))
            .collect();
        self.remarks.push(format!("{workload}: µs/msg by thread: {}", shares.join(", ")));
    }

    /// Adds a line of text.
    pub fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// As a table in Markdown, remarks below it.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::from("| workload | figure | median | range | runs | unit |\n");
        text.push_str("| --- | --- | ---: | --- | ---: | --- |\n");
        for figure in &self.figures {
            let (sorted, decimals) = (figure.sorted(), figure.decimals);
            let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
            let (median, count) = (sorted[sorted.len() / 2], sorted.len());
            let Figure { workload, name, unit, .. } = figure;
            let _ = writeln!(
                text,
                "| {workload} | {name} | {median:.decimals$} | {least:.decimals$} – \
                 {most:.decimals$} | {count} | {unit} |"
            );
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{remark}");
        }
        text
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                json!({
                    "workload": figure.workload, "figure": figure.name, "unit": figure.unit,
                    "median": figure.sorted()[figure.runs.len() / 2], "runs": figure.runs,
                })
            })
            .collect();
        json!({ "figures": figures, "remarks": self.remarks })
    }
}

impl Figure {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_figure_come_together() {
        let mut report = Report::default();
        for value in [3.0, 1.0, 2.0] {
            report.add("live", ("rate", "msg/s", 0), value);
        }
        report.add("durable", ("rate", "msg/s", 0), 9.0);
        assert!(report.table().contains("| live | rate | 2 | 1 – 3 | 3 | msg/s |"));
        assert_eq!(report.json()["figures"][1]["median"], 9.0);
    }
}
