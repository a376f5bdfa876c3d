//! AMF0, as far as script data needs it: values in and out, nothing unknown is fatal.

use bytes::{BufMut, BytesMut};

/// Objects inside objects deeper than this are not read.
const MAX_DEPTH: usize = 16;

/// A value; the kinds that metadata never has are read over as `Other`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Boolean(bool),
    String(String),
    Object(Vec<(String, Value)>),
    Other,
}

/// Reads values from the front of `data`.
pub(crate) struct Reader<'a> {
    data: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data }
    }

    /// The next value; `None` at the end, or where the data stops making sense.
    pub(crate) fn value(&mut self) -> Option<Value> {
        self.value_at(0)
    }

    fn value_at(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        Some(match self.byte()? {
            0 => Value::Number(self.number()?),
            1 => Value::Boolean(self.byte()? != 0),
            2 => Value::String(self.string()?),
            3 => Value::Object(self.pairs(depth)),
            5 | 6 | 13 => Value::Other,
            7 => self.take(2).map(|_| Value::Other)?,
            8 => {
                // The count is only a hint, and often 0.
                self.take(4)?;
                Value::Object(self.pairs(depth))
            }
            10 => {
                let count = u32::from_be_bytes(self.array()?);
                for _ in 0..count {
                    self.value_at(depth + 1)?;
                }
                Value::Other
            }
            11 => self.take(10).map(|_| Value::Other)?,
            12 | 15 => {
                let length = u32::from_be_bytes(self.array()?) as usize;
                Value::String(String::from_utf8_lossy(self.take(length)?).into_owned())
            }
            16 => {
                self.string()?;
                Value::Object(self.pairs(depth))
            }
            _ => return None,
        })
    }

    /// Pairs up to the end mark. What was read before a fault is kept.
    fn pairs(&mut self, depth: usize) -> Vec<(String, Value)> {
        let mut pairs = Vec::new();
        while !self.data.starts_with(&[0, 0, 9]) {
            let Some(key) = self.string() else { return pairs };
            let Some(value) = self.value_at(depth + 1) else {
                // Nothing after it can be found.
                self.data = &[];
                return pairs;
            };
            pairs.push((key, value));
        }
        self.data = self.data.get(3..).unwrap_or_default();
        pairs
    }

    fn string(&mut self) -> Option<String> {
        let length = u16::from_be_bytes(self.array()?);
        Some(String::from_utf8_lossy(self.take(length.into())?).into_owned())
    }

    fn number(&mut self) -> Option<f64> {
        Some(f64::from_be_bytes(self.array()?))
    }

    fn byte(&mut self) -> Option<u8> {
        let [byte] = self.array()?;
        Some(byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.data.split_first_chunk()?;
        self.data = rest;
        Some(*front)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.data.split_at_checked(count)?;
        self.data = rest;
        Some(front)
    }
}

/// Writes one value. Strings are cut at 65535 bytes.
pub(crate) fn write(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Number(number) => {
            out.put_u8(0);
            out.put_f64(*number);
        }
        Value::Boolean(yes) => out.put_slice(&[1, u8::from(*yes)]),
        Value::String(text) => {
            out.put_u8(2);
            write_string(out, text);
        }
        Value::Object(pairs) => {
            // As an ECMA array: what every FLV writer uses for onMetaData.
            out.put_u8(8);
            out.put_u32(pairs.len() as u32);
            for (key, value) in pairs {
                write_string(out, key);
                write(out, value);
            }
            out.put_slice(&[0, 0, 9]);
        }
        Value::Other => out.put_u8(5),
    }
}

fn write_string(out: &mut BytesMut, text: &str) {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    out.put_u16(end as u16);
    out.put_slice(&text.as_bytes()[..end]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e9f64..1e9).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            Just(Value::Other),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop::collection::vec(("[a-z]{1,8}", inner), 0..4).prop_map(Value::Object)
        })
    }

    proptest! {
        #[test]
        fn values_read_back(values in prop::collection::vec(any_value(), 0..4)) {
            let mut out = BytesMut::new();
            values.iter().for_each(|value| write(&mut out, value));
            let mut reader = Reader::new(&out);
            for value in &values {
                let read = reader.value();
                prop_assert_eq!(read.as_ref(), Some(value));
            }
            prop_assert_eq!(reader.value(), None);
        }

        #[test]
        fn rubbish_ends(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&data);
            let mut count = 0;
            while reader.value().is_some() {
                count += 1;
                prop_assert!(count <= data.len());
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep: Vec<u8> = [3, 0, 1, b'a'].repeat(10_000);
        assert!(Reader::new(&deep).value().is_some());
        let arrays: Vec<u8> = [10, 0xff, 0xff, 0xff, 0xff].repeat(10_000);
        assert_eq!(Reader::new(&arrays).value(), None);
        // Four thousand million values of no bytes each do not exist either.
        assert_eq!(Reader::new(&[10, 0xff, 0xff, 0xff, 0xff]).value(), None);
    }
}
