//! The messages of event files that are written here; names and numbers are those of TensorBoard.

use prost::{Message, Oneof};

/// `SessionLog.START`.
const START: i32 = 1;

/// `DT_STRING`.
const STRING: i32 = 7;

/// One record.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub(super) wall_time: f64,
    /// Optimiser steps done.
    #[prost(int64, tag = "2")]
    pub(super) step: i64,
    /// The content.
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub(super) what: Option<What>,
}

/// The content of an event.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum What {
    /// The version of the file: its first record.
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Numbers, pictures, texts.
    #[prost(message, tag = "5")]
    Summary(Summary),
    /// The start of a session.
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// A summary of values to show.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    /// The values.
    #[prost(message, repeated, tag = "1")]
    pub(super) value: Vec<Value>,
}

/// A value to show.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    /// The name.
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    /// How the value is shown, if that does not follow from its content.
    #[prost(message, optional, tag = "9")]
    pub(super) metadata: Option<Metadata>,
    /// The content.
    #[prost(oneof = "Shown", tags = "2, 4, 8")]
    pub(super) shown: Option<Shown>,
}

/// The content of a value.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Shown {
    /// A number.
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    /// A picture.
    #[prost(message, tag = "4")]
    Image(Image),
    /// A text.
    #[prost(message, tag = "8")]
    Tensor(Text),
}

/// A picture.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    /// Rows.
    #[prost(int32, tag = "1")]
    pub(super) height: i32,
    /// Columns.
    #[prost(int32, tag = "2")]
    pub(super) width: i32,
    /// 1 for grey, 3 for red, green and blue.
    #[prost(int32, tag = "3")]
    pub(super) colorspace: i32,
    /// A PNG file.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) encoded_image_string: Vec<u8>,
}

/// A tensor of strings.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Text {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    tensor_shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

/// A shape; without sizes, it is that of a single value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {}

/// How a value is shown.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<Plugin>,
}

/// The part of TensorBoard that shows a value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Plugin {
    #[prost(string, tag = "1")]
    plugin_name: String,
}

/// The start of a session.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl What {
    /// Creates the start of a session, after which earlier events of later steps no longer hold.
    pub(super) fn session_start() -> Self {
        Self::SessionLog(SessionLog { status: START })
    }
}

impl Text {
    /// Creates a value that is shown as text.
    pub(super) fn value(tag: &str, text: &[u8]) -> Value {
        let plugin_data = Some(Plugin { plugin_name: "text".to_owned() });
        let text = Self { dtype: STRING, tensor_shape: Some(Shape {}), string_val: vec![text.to_vec()] };
        Value { tag: tag.to_owned(), metadata: Some(Metadata { plugin_data }), shown: Some(Shown::Tensor(text)) }
    }
}
