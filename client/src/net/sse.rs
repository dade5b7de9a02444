//! A reader of server-sent events (the WHATWG format) that never holds more than its limit.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SseEvent {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
}

/// A line or an event was longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SseTooLong;

/// Takes bytes as they come and gives whole events.
#[derive(Debug)]
pub(crate) struct SseReader {
    limit: usize,
    line: Vec<u8>,
    after_cr: bool,
    current: SseEvent,
    has_data: bool,
}

impl SseReader {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            current: SseEvent::default(),
            has_data: false,
        }
    }

    /// Takes the next bytes; pushes the events they complete onto `out`.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<SseEvent>) -> Result<(), SseTooLong> {
        for &byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => self.end_line(out)?,
                _ => {
                    if self.line.len().saturating_add(self.current.data.len()) >= self.limit {
                        return Err(SseTooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<SseEvent>) -> Result<(), SseTooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.current);
            if std::mem::take(&mut self.has_data) {
                out.push(event);
            }
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
                self.has_data = true;
                // Lossy decoding may have made it longer.
                if self.current.data.len() > self.limit.saturating_mul(3) {
                    return Err(SseTooLong);
                }
            }
            "event" => value.clone_into(&mut self.current.event),
            "id" if !value.contains('\0') => self.current.id = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let mut reader = SseReader::new(1000);
        let mut out = Vec::new();
        for piece in pieces {
            reader.feed(piece, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text = b": hello\n\nid: 7\r\nevent: envelope\r\ndata: one\r\ndata: two\r\n\r\nevent: ready\ndata:\n\n";
        let whole = read(&[text]);
        assert_eq!(whole.len(), 2);
        assert_eq!(
            whole[0],
            SseEvent {
                id: Some("7".into()),
                event: "envelope".into(),
                data: "one\ntwo".into()
            }
        );
        assert_eq!(
            whole[1],
            SseEvent {
                id: None,
                event: "ready".into(),
                data: String::new()
            }
        );
        for cut in 0..text.len() {
            assert_eq!(read(&[&text[..cut], &text[cut..]]), whole);
        }
    }

    #[test]
    fn an_endless_line_or_event_is_refused() {
        let mut out = Vec::new();
        assert_eq!(
            SseReader::new(100).feed(&[b'x'; 101], &mut out),
            Err(SseTooLong)
        );
        let mut reader = SseReader::new(100);
        let endless = (0..50).try_for_each(|_| reader.feed(b"data: 0123456789\n", &mut out));
        assert_eq!(endless, Err(SseTooLong));
        assert!(out.is_empty());
    }
}
