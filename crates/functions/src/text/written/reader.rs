//! Reads one text into a [`Column`].

use granary_catalog::ColumnType;

use super::Column;

/// The character, counted from 1, and what is wrong there.
type Wrong = (usize, String);

/// How deep values may stand in each other, which bounds the stack.
const DEPTH_MAX: usize = 64;

/// A text and how far it is read.
pub(super) struct Reader<'t> {
    text: &'t str,
    row: usize,
    /// In bytes.
    at: usize,
    depth: usize,
    /// Whether it is inside of PostgreSQL's braces, where texts need no quotation marks.
    in_braces: bool,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, row: usize) -> Reader<'t> {
        Reader { text, row, at: 0, depth: 0, in_braces: false }
    }

    /// The text as one value.
    pub(super) fn whole(&mut self, column: &mut Column) -> Result<(), Wrong> {
        self.value(column, ',')?;
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("nothing more")),
        }
    }

    /// A value, which `,`, a closing bracket or `end` may follow.
    fn value(&mut self, column: &mut Column, end: char) -> Result<(), Wrong> {
        self.skip_blanks();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(self.at, "values stand too deep in each other"));
        }
        match column {
            Column::Array { item, lengths, .. } => lengths.push(self.array(item)?),
            Column::Map { key, value, lengths, .. } => lengths.push(self.map(key, value)?),
            Column::Tuple { elements, rows, .. } => {
                self.tuple(elements)?;
                *rows += 1;
            }
            Column::Leaf { of, texts, places } => {
                let begin = self.at;
                texts.push(self.leaf(of, end)?);
                places.push((self.row, self.character(begin)));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, item: &mut Column) -> Result<usize, Wrong> {
        let was_in_braces = self.in_braces;
        let close = match self.peek() {
            Some('{') => '}',
            Some('[') => ']',
            _ => return Err(self.expected("'['")),
        };
        self.in_braces = close == '}';
        self.at += 1;
        let length = self.items(close, |reader| reader.value(item, ','))?;
        self.in_braces = was_in_braces;
        Ok(length)
    }

    fn map(&mut self, key: &mut Column, value: &mut Column) -> Result<usize, Wrong> {
        self.take('{')?;
        let was_in_braces = std::mem::take(&mut self.in_braces);
        let length = self.items('}', |reader| {
            reader.value(key, ':')?;
            reader.skip_blanks();
            reader.take(':')?;
            reader.value(value, ',')
        })?;
        self.in_braces = was_in_braces;
        Ok(length)
    }

    /// What stands between commas up to `close`, which is read too; gives how many there are.
    fn items(
        &mut self,
        close: char,
        mut one: impl FnMut(&mut Self) -> Result<(), Wrong>,
    ) -> Result<usize, Wrong> {
        self.skip_blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(0);
        }
        let mut length = 0;
        loop {
            one(self)?;
            length += 1;
            self.skip_blanks();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(found) if found == close => {
                    self.at += 1;
                    return Ok(length);
                }
                _ => return Err(self.expected(&format!("',' or '{close}'"))),
            }
        }
    }

    fn tuple(&mut self, elements: &mut [Column]) -> Result<(), Wrong> {
        self.take('(')?;
        for (place, element) in elements.iter_mut().enumerate() {
            if place > 0 {
                self.skip_blanks();
                self.take(',')?;
            }
            self.value(element, ',')?;
        }
        self.skip_blanks();
        self.take(')')
    }

    /// The text of a value that holds no others; NULL is none.
    fn leaf(&mut self, of: &ColumnType, end: char) -> Result<Option<String>, Wrong> {
        match self.peek() {
            Some(quote @ ('\'' | '"')) => return self.quoted(quote).map(Some),
            Some(found) if !",:]})".contains(found) => {}
            _ => return Err(self.expected("a value")),
        }
        let rest = &self.text[self.at..];
        let closes = |c: char| ",]})".contains(c) || c == end;
        let bare = rest.split(closes).next().unwrap_or(rest);
        let word = bare.trim_end();
        if word.eq_ignore_ascii_case("null") {
            if !of.is_nullable() {
                return Err(self.wrong(self.at, &format!("NULL in a value of type {of}")));
            }
            self.at += bare.len();
            return Ok(None);
        }
        let is_text = matches!(of.base(), ColumnType::String | ColumnType::FixedString(_));
        if is_text && !self.in_braces {
            return Err(self.expected("a text in quotation marks"));
        }
        self.at += bare.len();
        Ok(Some(word.to_owned()))
    }

    /// A text in quotation marks; two of them are one, and backslashes escape as in SQL.
    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let begin = self.at;
        self.at += 1;
        let mut value = String::new();
        while let Some(character) = self.next() {
            match character {
                '\\' => match self.next() {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some('r') => value.push('\r'),
                    Some('0') => value.push('\0'),
                    Some(other) => value.push(other),
                    None => break,
                },
                found if found == quote && self.peek() == Some(quote) => {
                    self.at += 1;
                    value.push(quote);
                }
                found if found == quote => return Ok(value),
                other => value.push(other),
            }
        }
        Err(self.wrong(begin, "the quotation mark is not closed"))
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: char) -> Result<(), Wrong> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.expected(&format!("'{wanted}'"))),
        }
    }

    fn expected(&self, what: &str) -> Wrong {
        let found = match self.peek() {
            Some(found) => format!("not '{found}'"),
            None => "and the text ends".to_owned(),
        };
        self.wrong(self.at, &format!("{what} is expected, {found}"))
    }

    fn wrong(&self, at: usize, why: &str) -> Wrong {
        (self.character(at), why.to_owned())
    }

    fn character(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }
}
