//! The part of the pickle language that a state dict is written in.
//!
//! Values are built, never run: a name stands for itself, and the two calls that occur (an empty ordered dictionary, a
//! tensor over a storage) are carried out by code of this module.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use tch::Kind;

use super::{Problem, storage_kind};

/// The description of a tensor of a state dict.
#[derive(Debug)]
pub(super) struct Pickled {
    pub(super) name: String,
    pub(super) tensor: Rc<StoredTensor>,
}

/// A view of a storage, with its offset, size and strides counted in numbers.
#[derive(Debug)]
pub(super) struct StoredTensor {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) size: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A storage: the archive entry that holds it, and its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) kind: Kind,
    pub(super) elements: usize,
}

/// Reads a pickled dictionary of tensors.
pub(super) fn state_dict(program: &[u8]) -> Result<Vec<Pickled>, Problem> {
    let mut machine = Machine { program, ..Machine::default() };
    let result = machine.run()?;
    let Value::Dictionary(index) = result else {
        return Err(Problem::new("a dictionary of tensors", result.describe()));
    };
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for (key, value) in std::mem::take(&mut machine.dictionaries[index]) {
        match (key, value) {
            (Value::Text(name), Value::Tensor(tensor)) => {
                if !names.insert(Rc::clone(&name)) {
                    return Err(Problem::new("tensors of different names", format!("{name} twice")));
                }
                tensors.push(Pickled { name: name.to_string(), tensor });
            }
            (Value::Text(name), other) => {
                return Err(Problem::new(format!("a tensor named {name}"), other.describe()));
            }
            (other, _) => return Err(Problem::new("the name of a tensor", other.describe())),
        }
    }
    Ok(tensors)
}

#[derive(Debug, Clone)]
enum Value {
    None,
    Boolean,
    Number(i64),
    Text(Rc<str>),
    /// The elements, and how deeply they nest.
    Tuple(Rc<[Value]>, usize),
    /// An index into the machine's dictionaries, since a dictionary in the memo can still change.
    Dictionary(usize),
    Name(Name),
    Storage(Rc<Storage>),
    Tensor(Rc<StoredTensor>),
}

#[derive(Debug, Clone, Copy)]
enum Name {
    OrderedDict,
    RebuildTensor,
    Storage(Kind),
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Self::None => "None".to_owned(),
            Self::Boolean => "a boolean".to_owned(),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text {text:?}"),
            Self::Tuple(elements, _) => format!("a tuple of {}", elements.len()),
            Self::Dictionary(_) => "a dictionary".to_owned(),
            Self::Name(name) => format!("the bare name {name:?}"),
            Self::Storage(_) => "a bare storage".to_owned(),
            Self::Tensor(_) => "a tensor".to_owned(),
        }
    }
}

#[derive(Debug, Default)]
struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    dictionaries: Vec<Vec<(Value, Value)>>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, Problem> {
        loop {
            let at = self.at;
            match self.byte()? {
                // PROTO
                0x80 => match self.byte()? {
                    2 => {}
                    version => {
                        let found = format!("protocol {version}");
                        return Err(Problem::new("pickle protocol 2, which torch.save uses", found));
                    }
                },
                // STOP
                b'.' => return self.pop(),
                // MARK
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.stack.push(Value::None),
                // NEWTRUE, NEWFALSE
                0x88 | 0x89 => self.stack.push(Value::Boolean),
                // BININT1, BININT2, BININT, LONG1
                b'K' => self.number(1)?,
                b'M' => self.number(2)?,
                b'J' => {
                    let number = self.little_endian(4)? as u32 as i32;
                    self.stack.push(Value::Number(number.into()));
                }
                0x8a => match self.byte()? {
                    length @ 0..=8 => {
                        // Two's complement in as many bytes as it takes; no bytes mean 0.
                        let unused = 64 - 8 * u32::from(length);
                        let number = (self.little_endian(length.into())? as i64).checked_shl(unused).unwrap_or(0);
                        self.stack.push(Value::Number(number.checked_shr(unused).unwrap_or(0)));
                    }
                    length => {
                        let found = format!("one of {length} bytes");
                        return Err(Problem::new("a number of at most 8 bytes", found));
                    }
                },
                // BINUNICODE
                b'X' => {
                    let length = self.little_endian(4)? as usize;
                    let text = self.text(length)?;
                    self.stack.push(text);
                }
                // TUPLE, EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3
                b't' => {
                    let elements = self.since_mark()?;
                    self.tuple(elements)?;
                }
                b')' => self.tuple(Vec::new())?,
                length @ 0x85..=0x87 => {
                    let length = usize::from(length - 0x84);
                    let start = self.stack.len().checked_sub(length).ok_or_else(empty)?;
                    let elements = self.stack.split_off(start);
                    self.tuple(elements)?;
                }
                // EMPTY_DICT
                b'}' => self.dictionary(),
                // SETITEM, SETITEMS
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set_items(items)?;
                }
                // BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
                b'q' => self.put(1)?,
                b'r' => self.put(4)?,
                b'h' => self.get(1)?,
                b'j' => self.get(4)?,
                // GLOBAL, BINPERSID, REDUCE
                b'c' => self.name()?,
                b'Q' => self.storage()?,
                b'R' => self.call()?,
                // BUILD: the version numbers of the modules, which do not concern the tensors.
                b'b' => match (self.pop()?, self.stack.last()) {
                    (Value::Dictionary(_), Some(Value::Dictionary(_))) => {}
                    (state, _) => {
                        let found = format!("the state {}", state.describe());
                        return Err(Problem::new("the metadata of a state dict", found));
                    }
                },
                operation => {
                    let found = format!("pickle operation {operation:#04x} at byte {at}");
                    return Err(Problem::new("the operations of a state dict alone", found));
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Problem> {
        let end = self.at.checked_add(length);
        let Some(taken) = end.and_then(|end| self.program.get(self.at..end)) else {
            let found = format!("its end after {} bytes", self.program.len());
            return Err(Problem::new("a whole pickle", found));
        };
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.take(1)?[0])
    }

    fn little_endian(&mut self, length: usize) -> Result<u64, Problem> {
        let bytes = self.take(length)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn number(&mut self, length: usize) -> Result<(), Problem> {
        let number = self.little_endian(length)? as i64;
        self.stack.push(Value::Number(number));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<Value, Problem> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(error) => Err(Problem::new("text in UTF-8", error.to_string())),
        }
    }

    fn line(&mut self) -> Result<String, Problem> {
        let rest = self.program.get(self.at..).unwrap_or_default();
        let length = rest.iter().take(256).position(|&byte| byte == b'\n');
        let Some(length) = length else {
            return Err(Problem::new("the end of a name", "none within 256 bytes"));
        };
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.at += 1;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value, Problem> {
        // What lies below a mark belongs to the operation that takes the mark.
        if self.marks.last().is_some_and(|&mark| self.stack.len() <= mark) {
            return Err(empty());
        }
        self.stack.pop().ok_or_else(empty)
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, Problem> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err(Problem::new("a mark on the pickle's stack", "none")),
        }
    }

    fn tuple(&mut self, elements: Vec<Value>) -> Result<(), Problem> {
        const DEEPEST: usize = 8;
        let depth = elements.iter().map(|element| match element {
            Value::Tuple(_, depth) => depth + 1,
            _ => 1,
        });
        let depth = depth.max().unwrap_or_default();
        if depth > DEEPEST {
            return Err(Problem::new(format!("tuples nested at most {DEEPEST} deep"), "more"));
        }
        self.stack.push(Value::Tuple(elements.into(), depth));
        Ok(())
    }

    fn dictionary(&mut self) {
        self.stack.push(Value::Dictionary(self.dictionaries.len()));
        self.dictionaries.push(Vec::new());
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), Problem> {
        let index = match self.stack.last() {
            Some(Value::Dictionary(index)) => *index,
            Some(other) => return Err(Problem::new("a dictionary to fill", other.describe())),
            None => return Err(empty()),
        };
        let mut items = items.into_iter();
        while let Some(key) = items.next() {
            let Some(value) = items.next() else {
                return Err(Problem::new("keys and values", "a key without a value"));
            };
            self.dictionaries[index].push((key, value));
        }
        Ok(())
    }

    fn put(&mut self, length: usize) -> Result<(), Problem> {
        let slot = self.little_endian(length)? as u32;
        let value = self.stack.last().ok_or_else(empty)?.clone();
        self.memo.insert(slot, value);
        Ok(())
    }

    fn get(&mut self, length: usize) -> Result<(), Problem> {
        let slot = self.little_endian(length)? as u32;
        let Some(value) = self.memo.get(&slot) else {
            return Err(Problem::new(format!("a value in memo slot {slot}"), "none"));
        };
        self.stack.push(value.clone());
        Ok(())
    }

    fn name(&mut self) -> Result<(), Problem> {
        let module = self.line()?;
        let name = self.line()?;
        let known = match (module.as_str(), name.as_str()) {
            ("collections", "OrderedDict") => Some(Name::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Name::RebuildTensor),
            ("torch", class) => storage_kind(class).map(Name::Storage),
            _ => None,
        };
        let Some(known) = known else {
            let found = format!("the name {module}.{name}, which is refused");
            return Err(Problem::new("the names of a state dict alone", found));
        };
        self.stack.push(Value::Name(known));
        Ok(())
    }

    /// Reads a storage from the tuple ('storage', class, key, device, number of elements).
    fn storage(&mut self) -> Result<(), Problem> {
        let identifier = self.pop()?;
        if let Value::Tuple(parts, _) = &identifier
            && let [
                Value::Text(what),
                Value::Name(Name::Storage(kind)),
                Value::Text(key),
                Value::Text(_),
                Value::Number(elements),
            ] = &**parts
            && &**what == "storage"
            && let Ok(elements) = usize::try_from(*elements)
        {
            let storage = Storage { key: key.to_string(), kind: *kind, elements };
            self.stack.push(Value::Storage(Rc::new(storage)));
            return Ok(());
        }
        Err(Problem::new("the description of a storage", identifier.describe()))
    }

    fn call(&mut self) -> Result<(), Problem> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let Value::Tuple(arguments, _) = &arguments else {
            return Err(Problem::new("arguments in a tuple", arguments.describe()));
        };
        match (&function, &**arguments) {
            (Value::Name(Name::OrderedDict), []) => self.dictionary(),
            (
                Value::Name(Name::RebuildTensor),
                [Value::Storage(storage), Value::Number(offset), size, strides, Value::Boolean, Value::Dictionary(_)],
            ) => {
                let Ok(offset) = usize::try_from(*offset) else {
                    return Err(Problem::new("an offset", offset.to_string()));
                };
                let storage = Storage::clone(storage);
                let (size, strides) = (counts(size)?, counts(strides)?);
                let tensor = StoredTensor { storage, offset, size, strides };
                self.stack.push(Value::Tensor(Rc::new(tensor)));
            }
            _ => {
                let count = arguments.len();
                let found = format!("{} called with {count} arguments", function.describe());
                return Err(Problem::new("the calls of a state dict alone", found));
            }
        }
        Ok(())
    }
}

/// Reads a tuple of at most eight numbers that are not negative.
fn counts(value: &Value) -> Result<Vec<usize>, Problem> {
    let wrong = || Problem::new("a tuple of at most 8 counts", value.describe());
    let Value::Tuple(elements, _) = value else {
        return Err(wrong());
    };
    if elements.len() > 8 {
        return Err(wrong());
    }
    let count = |element: &Value| match element {
        Value::Number(number) => usize::try_from(*number).map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    elements.iter().map(count).collect()
}

fn empty() -> Problem {
    Problem::new("a value on the pickle's stack", "none")
}
