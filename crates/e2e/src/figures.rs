//! Figures that a command measured, each with what it must not exceed: a table for people, JSON for
//! scripts.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    at_most: Option<f64>,
}

/// All figures of a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// A count.
    pub fn count(&mut self, name: &'static str, value: u64, at_most: Option<u64>) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        self.add(name, value as f64, "", at_most.map(|bound| bound as f64));
    }

    /// Bytes, shown as MiB.
    pub fn bytes(&mut self, name: &'static str, value: u64, at_most: Option<u64>) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        self.add(name, mib(value), "MiB", at_most.map(mib));
    }

    /// A time, shown as seconds.
    pub fn time(&mut self, name: &'static str, value: Duration, at_most: Option<Duration>) {
        let bound = at_most.map(|bound| bound.as_secs_f64());
        self.add(name, value.as_secs_f64(), "s", bound);
    }

    /// Anything else.
    pub fn add(
        &mut self,
        name: &'static str,
        value: f64,
        unit: &'static str,
        at_most: Option<f64>,
    ) {
        self.0.push(Figure { name, value, unit, at_most });
    }

    /// Whether every figure is within its bound.
    pub fn is_good(&self) -> bool {
        self.0.iter().all(Figure::is_good)
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let figures: Vec<_> = self
            .0
            .iter()
            .map(|figure| {
                let Figure { name, value, unit, at_most } = figure;
                json!({"name": name, "value": value, "unit": unit, "at_most": at_most,
                       "good": figure.is_good()})
            })
            .collect();
        json!({"good": self.is_good(), "figures": figures})
    }

    /// For people.
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        for figure in &self.0 {
            let Figure { name, value, unit, at_most } = figure;
            let digits = if unit.is_empty() { 0 } else { 2 };
            write!(out, "{name:<44} {value:>12.digits$} {unit:<4}")?;
            match at_most {
                Some(bound) => {
                    let verdict = if figure.is_good() { "good" } else { "TOO MUCH" };
                    writeln!(out, " at most {bound:.digits$}: {verdict}")?;
                }
                None => writeln!(out)?,
            }
        }
        Ok(())
    }
}

impl Figure {
    fn is_good(&self) -> bool {
        self.at_most.is_none_or(|bound| self.value <= bound)
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn a_figure_beyond_its_bound_is_bad() {
        let mut figures = Figures::default();
        figures.bytes("disk", 1 << 20, Some(1 << 20));
        assert!(figures.is_good());
        figures.count("lost", 1, Some(0));
        assert!(!figures.is_good());
        let mut text = Vec::new();
        figures.show(&mut text).expect("text");
        assert!(String::from_utf8_lossy(&text).contains("TOO MUCH"));
        assert_eq!(figures.json()["good"], false);
    }
}
