//! Tables for people: columns aligned, numbers to the right, one place for all commands.

/// Where a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// The columns of a table. Their widths only grow, so that a table may be printed in parts.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Align, usize)>,
    has_titles: bool,
}

impl Table {
    /// A table with these columns, whose titles are not printed yet.
    pub(crate) fn new<T: Into<String>>(columns: impl IntoIterator<Item = (T, Align)>) -> Self {
        let columns = columns.into_iter().map(|(title, align)| {
            let title = title.into();
            let width = width(&title);
            (title, align, width)
        });
        Self { columns: columns.collect(), has_titles: true }
    }

    /// A table without titles.
    pub(crate) fn plain(columns: &[Align]) -> Self {
        let columns = columns.iter().map(|align| (String::new(), *align, 0));
        Self { columns: columns.collect(), has_titles: false }
    }

    /// Appends rows, the first time under their titles. A row has a cell for each column.
    pub(crate) fn write<R: AsRef<[String]>>(&mut self, text: &mut String, rows: &[R]) {
        for row in rows {
            for ((.., most), cell) in self.columns.iter_mut().zip(row.as_ref()) {
                *most = width(cell).max(*most);
            }
        }
        if std::mem::take(&mut self.has_titles) {
            let titles: Vec<String> =
                self.columns.iter().map(|(title, ..)| title.clone()).collect();
            self.write_row(text, &titles);
        }
        for row in rows {
            self.write_row(text, row.as_ref());
        }
    }

    fn write_row(&self, text: &mut String, row: &[String]) {
        let start = text.len();
        for (number, ((_, align, most), cell)) in self.columns.iter().zip(row).enumerate() {
            if number > 0 {
                text.push_str("  ");
            }
            let pad = most.saturating_sub(width(cell));
            if *align == Align::Right {
                text.extend(std::iter::repeat_n(' ', pad));
            }
            text.push_str(cell);
            if *align == Align::Left {
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        let end = text.trim_end_matches(' ').len().max(start);
        text.truncate(end);
        text.push('\n');
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_stay_so() {
        let mut table = Table::new([("queue", Align::Left), ("ready", Align::Right)]);
        let mut text = String::new();
        table.write(&mut text, &[["größe".to_owned(), "7".to_owned()]]);
        table.write(&mut text, &[["orders".to_owned(), "1000000".to_owned()]]);
        table.write(&mut text, &[["a".to_owned(), "1".to_owned()]]);
        assert_eq!(text, "queue  ready\ngröße      7\norders  1000000\na             1\n");
    }

    #[test]
    fn lines_end_with_no_spaces() {
        let mut table = Table::plain(&[Align::Left, Align::Left]);
        let mut text = String::new();
        table.write(
            &mut text,
            &[["a".to_owned(), "long".to_owned()], ["bb".to_owned(), String::new()]],
        );
        assert_eq!(text, "a   long\nbb\n");
    }
}
