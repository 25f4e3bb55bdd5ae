/// A text that shares the bytes of the frame in which it came.
pub(crate) use tungstenite::Utf8Bytes as Text;

/// A text that shares a buffer of up to this keeps all of it.
const SHARED: usize = 16 << 10;

/// Makes a copy of a short text, so that keeping it keeps nothing else.
pub(crate) fn detach(text: &mut Text) {
    if text.len() < SHARED {
        *text = Text::from(text.as_str().to_owned());
    }
}
