//! Unpacking of gzip and zstd as bytes come, in steps of bounded size.

use std::io::Write;

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use futures::stream::StreamExt;
use granary_common::{Error, Result};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::file::Chunks;
use crate::format::Compression;

/// Unpacked bytes are handed on when there are so many.
const STEP_BYTES: usize = 1 << 20;

/// The chunks unpacked. `shown` names the file in errors.
pub(crate) fn unpacked(chunks: Chunks, compression: Compression, shown: &str) -> Result<Chunks> {
    let unpacker = match compression {
        Compression::None => return Ok(chunks),
        Compression::Gzip => Unpacker::Gzip(MultiGzDecoder::new(Vec::new())),
        Compression::Zstd => {
            let decoder = ZstdDecoder::new()
                .map_err(|error| Error::internal(format!("zstd cannot be used: {error}")))?;
            Unpacker::Zstd { decoder, output: Vec::new(), is_torn: false }
        }
    };
    let state =
        State { chunks, unpacker, packed: Bytes::new(), ended: false, shown: shown.to_owned() };
    let steps = futures::stream::unfold(state, |mut state| async move {
        let step = state.step().await.transpose()?;
        state.ended |= step.is_err();
        Some((step, state))
    });
    Ok(steps.boxed())
}

enum Unpacker {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zstd {
        decoder: ZstdDecoder<'static>,
        output: Vec<u8>,
        /// Something of a frame is missing.
        is_torn: bool,
    },
}

struct State {
    chunks: Chunks,
    unpacker: Unpacker,
    /// What was read and not unpacked yet.
    packed: Bytes,
    ended: bool,
    shown: String,
}

impl State {
    async fn step(&mut self) -> Result<Option<Bytes>> {
        while !self.ended {
            if self.packed.is_empty() {
                match self.chunks.next().await {
                    Some(chunk) => self.packed = chunk?,
                    None => {
                        self.ended = true;
                        let finished = self.unpacker.finish();
                        finished.map_err(|error| self.damaged(&error))?;
                        break;
                    }
                }
                continue;
            }
            let taken = self.unpacker.take(&self.packed);
            let taken = taken.map_err(|error| self.damaged(&error))?;
            self.packed.advance(taken);
            if self.unpacker.output().len() >= STEP_BYTES {
                break;
            }
        }
        let output = std::mem::take(self.unpacker.output());
        Ok((!output.is_empty()).then(|| Bytes::from(output)))
    }

    fn damaged(&self, error: &std::io::Error) -> Error {
        Error::invalid(format!("{}: it cannot be unpacked: {error}", self.shown))
    }
}

impl Unpacker {
    /// Takes some of `packed`; what comes of it is a bounded piece of the output.
    fn take(&mut self, packed: &[u8]) -> std::io::Result<usize> {
        match self {
            Unpacker::Gzip(decoder) => match decoder.write(packed)? {
                0 => Err(std::io::Error::other("bytes follow that are not gzip")),
                taken => Ok(taken),
            },
            Unpacker::Zstd { decoder, output, is_torn } => {
                let mut piece = [0_u8; 1 << 16];
                let mut read = InBuffer::around(packed);
                let mut written = OutBuffer::around(&mut piece[..]);
                let left = decoder.run(&mut read, &mut written)?;
                *is_torn = left > 0;
                let (read, written) = (read.pos(), written.pos());
                output.extend_from_slice(&piece[..written]);
                match (read, written) {
                    (0, 0) => Err(std::io::Error::other("it makes no progress")),
                    (read, _) => Ok(read),
                }
            }
        }
    }

    fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Unpacker::Gzip(decoder) => decoder.try_finish(),
            Unpacker::Zstd { decoder, output, is_torn } => {
                // What is still inside comes out without more input.
                while *is_torn {
                    let mut piece = [0_u8; 1 << 16];
                    let mut written = OutBuffer::around(&mut piece[..]);
                    let left = decoder.run(&mut InBuffer::around(&[]), &mut written)?;
                    let written = written.pos();
                    output.extend_from_slice(&piece[..written]);
                    *is_torn = left > 0;
                    if written == 0 {
                        break;
                    }
                }
                match *is_torn {
                    true => Err(std::io::Error::other("its end is missing")),
                    false => Ok(()),
                }
            }
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Unpacker::Gzip(decoder) => decoder.get_mut(),
            Unpacker::Zstd { output, .. } => output,
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::write::GzEncoder;
    use futures::TryStreamExt;

    use super::*;

    fn packed(compression: Compression, text: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => text.to_vec(),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::stream::encode_all(text, 1).unwrap(),
        }
    }

    async fn unpack(compression: Compression, bytes: &[u8], piece: usize) -> Result<Vec<u8>> {
        let pieces: Vec<Result<Bytes>> =
            bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let chunks = futures::stream::iter(pieces).boxed();
        let all: Vec<Bytes> = unpacked(chunks, compression, "f")?.try_collect().await?;
        assert!(all.iter().all(|chunk| chunk.len() < 2 * STEP_BYTES));
        Ok(all.concat())
    }

    #[tokio::test]
    async fn what_was_packed_comes_back_in_bounded_steps() {
        let text = b"a line of a file\n".repeat(400_000);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let mut twice = packed(compression, &text);
            twice.extend(packed(compression, b"more"));
            let expected = [&text[..], b"more"].concat();
            for piece in [7, 1 << 20] {
                let got = unpack(compression, &twice, piece).await.unwrap();
                assert!(got == expected, "{compression:?} in pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn torn_files_are_errors() {
        let text = b"a line of a file\n".repeat(1_000);
        for compression in [Compression::Gzip, Compression::Zstd] {
            let whole = packed(compression, &text);
            for torn in [&whole[..whole.len() / 2], b"no such thing"] {
                let error = unpack(compression, torn, 1 << 10).await.unwrap_err();
                assert!(error.message().contains("f: it cannot be unpacked"), "{error}");
            }
        }
    }
}
