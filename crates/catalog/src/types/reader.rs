//! Reads the canonical spelling of a type, as it is stored. SQL's many other spellings are the
//! dialect's business.

use granary_common::{Error, Result};

use super::{AggregateType, ColumnType};

/// Reads a whole spelling.
pub(super) fn read(text: &str) -> Result<ColumnType> {
    let mut reader = Reader { text, at: 0 };
    let column_type = reader.column_type()?;
    reader.skip_blanks();
    match reader.at == text.len() {
        true => Ok(column_type),
        false => Err(reader.unexpected("the end of the type")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn unexpected(&self, wanted: &str) -> Error {
        Error::invalid(format!("type '{}': expected {wanted} at '{}'", self.text, self.rest()))
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn accept(&mut self, symbol: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(symbol);
        if found {
            self.at += symbol.len_utf8();
        }
        found
    }

    fn expect(&mut self, symbol: char) -> Result<()> {
        match self.accept(symbol) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("'{symbol}'"))),
        }
    }

    fn word(&mut self) -> Result<String> {
        self.skip_blanks();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = self.rest().find(|c| !is_word(c)).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.unexpected("a name"));
        }
        let word = self.rest()[..length].to_owned();
        self.at += length;
        Ok(word)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T> {
        self.skip_blanks();
        let is_number = |c: char| c.is_ascii_digit() || c == '-';
        let length = self.rest().find(|c| !is_number(c)).unwrap_or(self.rest().len());
        let number = self.rest()[..length].parse();
        let number = number.map_err(|_| self.unexpected("a number"))?;
        self.at += length;
        Ok(number)
    }

    fn quoted(&mut self) -> Result<String> {
        self.expect('\'')?;
        let mut value = String::new();
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices() {
            match c {
                '\\' if !escaped => escaped = true,
                '\'' if !escaped => {
                    self.at += offset + 1;
                    return Ok(value);
                }
                other => {
                    value.push(other);
                    escaped = false;
                }
            }
        }
        Err(self.unexpected("a closing quote"))
    }

    fn inner(&mut self) -> Result<Box<ColumnType>> {
        self.expect('(')?;
        let inner = self.column_type()?;
        self.expect(')')?;
        Ok(Box::new(inner))
    }

    fn one_number<T: std::str::FromStr>(&mut self) -> Result<T> {
        self.expect('(')?;
        let number = self.number()?;
        self.expect(')')?;
        Ok(number)
    }

    fn zone(&mut self) -> Result<Option<String>> {
        let zone = self.quoted()?;
        self.expect(')')?;
        Ok(Some(zone))
    }

    fn column_type(&mut self) -> Result<ColumnType> {
        let name = self.word()?;
        if let Some(plain) = plain(&name) {
            return Ok(plain);
        }
        match name.as_str() {
            "Decimal" => {
                self.expect('(')?;
                let precision = self.number()?;
                self.expect(',')?;
                let scale = self.number()?;
                self.expect(')')?;
                Ok(ColumnType::Decimal(precision, scale))
            }
            "FixedString" => Ok(ColumnType::FixedString(self.one_number()?)),
            "Time" => Ok(ColumnType::Time(self.one_number()?)),
            "DateTime" => match self.accept('(') {
                true => Ok(ColumnType::DateTime(self.zone()?)),
                false => Ok(ColumnType::DateTime(None)),
            },
            "DateTime64" => {
                self.expect('(')?;
                let precision = self.number()?;
                match self.accept(',') {
                    true => Ok(ColumnType::DateTime64(precision, self.zone()?)),
                    false => {
                        self.expect(')')?;
                        Ok(ColumnType::DateTime64(precision, None))
                    }
                }
            }
            "Enum8" => Ok(ColumnType::Enum8(self.enum_values()?)),
            "Enum16" => Ok(ColumnType::Enum16(self.enum_values()?)),
            "LowCardinality" => Ok(ColumnType::LowCardinality(self.inner()?)),
            "Nullable" => Ok(ColumnType::Nullable(self.inner()?)),
            "Array" => Ok(ColumnType::Array(self.inner()?)),
            "Map" => {
                self.expect('(')?;
                let key = self.column_type()?;
                self.expect(',')?;
                let value = self.column_type()?;
                self.expect(')')?;
                Ok(ColumnType::Map(Box::new(key), Box::new(value)))
            }
            "Tuple" => self.tuple(),
            "AggregateFunction" => self.aggregate_function(),
            "SimpleAggregateFunction" => {
                self.expect('(')?;
                let function = self.word()?;
                self.expect(',')?;
                let inner = Box::new(self.column_type()?);
                self.expect(')')?;
                Ok(ColumnType::SimpleAggregateFunction(function, inner))
            }
            _ => Err(Error::invalid(format!("unknown type '{name}'"))),
        }
    }

    fn enum_values(&mut self) -> Result<Vec<(String, i16)>> {
        self.expect('(')?;
        let mut values = Vec::new();
        loop {
            let name = self.quoted()?;
            self.expect('=')?;
            values.push((name, self.number()?));
            if !self.accept(',') {
                break;
            }
        }
        self.expect(')')?;
        Ok(values)
    }

    fn aggregate_function(&mut self) -> Result<ColumnType> {
        self.expect('(')?;
        let function = self.word()?;
        let mut parameters = Vec::new();
        if self.accept('(') {
            while !self.accept(')') {
                self.skip_blanks();
                let length = self.rest().find([',', ')']).unwrap_or(self.rest().len());
                let parameter = self.rest()[..length].trim_end().to_owned();
                if parameter.is_empty() {
                    return Err(self.unexpected("a parameter"));
                }
                self.at += length;
                self.accept(',');
                parameters.push(parameter);
            }
        }
        let mut arguments = Vec::new();
        while self.accept(',') {
            arguments.push(self.column_type()?);
        }
        self.expect(')')?;
        Ok(ColumnType::AggregateFunction(Box::new(AggregateType {
            function,
            parameters,
            arguments,
        })))
    }

    fn tuple(&mut self) -> Result<ColumnType> {
        self.expect('(')?;
        let mut elements = Vec::new();
        loop {
            let start = self.at;
            let word = self.word()?;
            self.skip_blanks();
            let named = self.rest().starts_with(|c: char| c.is_alphabetic());
            if !named {
                self.at = start;
            }
            elements.push((named.then_some(word), self.column_type()?));
            if !self.accept(',') {
                break;
            }
        }
        self.expect(')')?;
        Ok(ColumnType::Tuple(elements))
    }
}

fn plain(name: &str) -> Option<ColumnType> {
    Some(match name {
        "Bool" => ColumnType::Bool,
        "Int8" => ColumnType::Int8,
        "Int16" => ColumnType::Int16,
        "Int32" => ColumnType::Int32,
        "Int64" => ColumnType::Int64,
        "UInt8" => ColumnType::UInt8,
        "UInt16" => ColumnType::UInt16,
        "UInt32" => ColumnType::UInt32,
        "UInt64" => ColumnType::UInt64,
        "Float32" => ColumnType::Float32,
        "Float64" => ColumnType::Float64,
        "String" => ColumnType::String,
        "UUID" => ColumnType::Uuid,
        "IPv4" => ColumnType::Ipv4,
        "IPv6" => ColumnType::Ipv6,
        "Date" => ColumnType::Date,
        "Binary" => ColumnType::Binary,
        "Interval" => ColumnType::Interval,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_round_trip() {
        for text in [
            "UInt64",
            "Decimal(15, 2)",
            "Nullable(DateTime64(3, 'Europe/Berlin'))",
            "LowCardinality(Nullable(String))",
            "Map(String, Array(Tuple(id UInt8, Nullable(Float64))))",
            "Enum8('it\\'s' = -1, 'b' = 2)",
            "FixedString(16)",
            "UUID",
            "Nullable(Time(6))",
            "Interval",
            "Array(Binary)",
            "AggregateFunction(count)",
            "AggregateFunction(quantiles(0.5, 0.9), Nullable(Float64))",
            "AggregateFunction(argMax, Decimal(15, 2), DateTime64(3, 'UTC'))",
            "SimpleAggregateFunction(anyLast, LowCardinality(Nullable(String)))",
        ] {
            assert_eq!(read(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn states_are_known_in_plans() {
        let states = read("AggregateFunction(quantile(0.9), Float64)").expect("a type");
        let carried = ColumnType::state_from_arrow(&states.arrow()).expect("states");
        assert_eq!(ColumnType::AggregateFunction(Box::new(carried)), states);
        let tuple = read("Tuple(a String)").expect("a type");
        assert_eq!(ColumnType::state_from_arrow(&tuple.arrow()), None);
        let simple = read("SimpleAggregateFunction(sum, Nullable(Int64))").expect("a type");
        assert_eq!(*simple.base(), ColumnType::Int64);
        assert!(simple.is_nullable());
    }

    #[test]
    fn damage_is_refused() {
        for text in [
            "",
            "Strin",
            "Decimal(1",
            "Array(UInt8",
            "UInt8)",
            "Enum8('a' = )",
            "AggregateFunction(sum(, UInt8)",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
