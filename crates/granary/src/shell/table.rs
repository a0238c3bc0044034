//! Tables for people. The widths come from the first rows, so that a result of any length is
//! shown in bounded memory; later rows that need more room simply take it.

use std::io::{Result, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Rows that decide about the widths.
const MEASURED_ROWS: usize = 1000;
/// A column gets at most this width, in characters, however long its values are.
const WIDTH_MAX: usize = 100;

/// Writes batches as a table with a frame.
pub struct TableWriter<W> {
    sink: W,
    names: Vec<String>,
    right: Vec<bool>,
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl<W: Write> TableWriter<W> {
    /// A table with the columns of `schema`.
    pub fn new(sink: W, schema: SchemaRef) -> Self {
        let fields = schema.fields();
        Self {
            sink,
            names: fields.iter().map(|field| shown(field.name())).collect(),
            right: fields.iter().map(|field| field.data_type().is_numeric()).collect(),
            waiting: Vec::new(),
            widths: None,
        }
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let options = FormatOptions::new().with_null("NULL");
        let formatters: std::result::Result<Vec<_>, _> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect();
        let formatters = formatters.map_err(std::io::Error::other)?;
        for row in 0..batch.num_rows() {
            let cells = formatters.iter().map(|column| shown(&column.value(row).to_string()));
            let cells: Vec<String> = cells.collect();
            if self.widths.is_some() {
                self.row(&cells)?;
                continue;
            }
            self.waiting.push(cells);
            if self.waiting.len() == MEASURED_ROWS {
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let widest = usize::from(u16::MAX) - 2; // What a text can be padded to, with blanks.
        let mut widths: Vec<usize> =
            self.names.iter().map(|name| width(name).min(widest)).collect();
        for row in &self.waiting {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(cell)).min(WIDTH_MAX.max(*widest));
            }
        }
        self.widths = Some(widths);
        self.line()?;
        let names = std::mem::take(&mut self.names);
        self.row(&names)?;
        self.names = names;
        self.line()?;
        for row in std::mem::take(&mut self.waiting) {
            self.row(&row)?;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<()> {
        for width in self.widths.iter().flatten() {
            write!(self.sink, "+{:-<1$}", "", width + 2)?;
        }
        writeln!(self.sink, "+")
    }

    fn row(&mut self, cells: &[String]) -> Result<()> {
        let widths = self.widths.as_deref().unwrap_or_default();
        let height = cells.iter().map(|cell| cell.split('\n').count()).max().unwrap_or(1);
        for line in 0..height {
            for ((cell, width_of), right) in cells.iter().zip(widths).zip(&self.right) {
                let text = cell.split('\n').nth(line).unwrap_or_default();
                let padding = width_of.saturating_sub(width(text));
                match right {
                    true => write!(self.sink, "| {:padding$}{text} ", "")?,
                    false => write!(self.sink, "| {text}{:padding$} ", "")?,
                }
            }
            writeln!(self.sink, "|")?;
        }
        Ok(())
    }

    /// Closes the frame and gives the sink back.
    pub fn finish(mut self) -> Result<W> {
        if self.widths.is_none() {
            self.begin()?;
        }
        self.line()?;
        Ok(self.sink)
    }
}

/// Characters of the widest line.
fn width(text: &str) -> usize {
    text.split('\n').map(|line| line.chars().count()).max().unwrap_or(0)
}

/// A value without what would break the frame. Line breaks stay: plans and statements have them.
fn shown(text: &str) -> String {
    if text.contains(['\r', '\t']) {
        text.replace('\r', "\\r").replace('\t', "    ")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_table() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(-200), None]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["ä", "two\nlines", ""]));
        let columns = [("n", numbers, true), ("word", words, true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
        let mut table = TableWriter::new(Vec::new(), batch.schema());
        table.write(&batch).expect("written");
        let text = String::from_utf8(table.finish().expect("finished")).expect("text");
        let expected = "\
+------+-------+
|    n | word  |
+------+-------+
|    1 | ä     |
| -200 | two   |
|      | lines |
| NULL |       |
+------+-------+
";
        assert_eq!(text, expected);
    }
}
