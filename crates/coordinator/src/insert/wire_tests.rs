use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use granary_common::ErrorKind;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

fn batch(rows: i64) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]);
    let names: StringArray =
        (0..rows).map(|row| (row % 3 > 0).then(|| format!("n{row}"))).collect();
    let ids = Int64Array::from_iter_values(0..rows);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(names)]).unwrap()
}

fn stream(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let schema = batches[0].schema();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn plain(rows: i64) -> Vec<u8> {
    stream(&[batch(rows), batch(3)], IpcWriteOptions::default())
}

fn decode(bytes: &[u8], chunk: usize, limit: usize) -> Result<Vec<RecordBatch>> {
    let mut framer = Framer::new(limit);
    let mut decoder = BatchDecoder::new(limit);
    let mut batches = Vec::new();
    for piece in bytes.chunks(chunk) {
        framer.push(piece)?;
        while let Some((metadata, body)) = framer.next_message()? {
            batches.extend(decoder.decode(&metadata, body)?);
        }
    }
    framer.finish()?;
    Ok(batches)
}

#[test]
fn cuts_do_not_matter() {
    let bytes = plain(100);
    for chunk in [1, 7, 64, bytes.len()] {
        assert_eq!(decode(&bytes, chunk, LIMIT).unwrap(), vec![batch(100), batch(3)]);
    }
}

#[test]
fn compressed_streams_are_read() {
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(arrow_ipc::CompressionType::LZ4_FRAME))
        .unwrap();
    let bytes = stream(&[batch(1000)], options);
    assert_eq!(decode(&bytes, 512, LIMIT).unwrap(), vec![batch(1000)]);
}

#[test]
fn torn_streams_say_so() {
    let bytes = plain(100);
    // The last eight bytes are the mark of the end.
    for end in [3, 9, 200, bytes.len() - 20, bytes.len() - 8, bytes.len() - 1] {
        let error = decode(&bytes[..end], 64, LIMIT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("cut short"), "{end}: {error}");
    }
    assert_eq!(decode(&bytes, 64, LIMIT).unwrap().len(), 2);
}

#[test]
fn what_is_not_arrow_is_refused() {
    let cases: [&[u8]; 4] = [
        b"id,name\n1,a\n2,b\n",
        b"ARROW1\0\0\xff\xff\xff\xff",
        b"PAR1....",
        &[0x10, 0, 0, 0, 1, 2],
    ];
    for bytes in cases {
        let error = decode(bytes, 64, LIMIT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bytes:?}: {error}");
    }
}

#[test]
fn oversized_batches_are_refused_before_they_arrive() {
    let bytes = plain(10_000);
    let error = decode(&bytes[..1000], 64, 4096).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(error.message().contains("4.0 KiB"), "{error}");
}

#[test]
fn trailing_bytes_and_second_schemas_are_refused() {
    let mut twice = plain(5);
    twice.extend(plain(5));
    assert!(decode(&twice, 64, LIMIT).unwrap_err().message().contains("follow the end"));
    let one = plain(5);
    let joined = [&one[..one.len() - 8], &one].concat();
    assert!(decode(&joined, 64, LIMIT).unwrap_err().message().contains("second schema"));
}

proptest! {
    /// Whatever is changed: batches or an error, never a panic or a huge allocation.
    #[test]
    fn corrupt_streams_do_no_harm(at in 0usize..2000, bits in 1u8.., cut in 0usize..64) {
        let mut bytes = plain(50);
        let at = at % bytes.len();
        bytes[at] ^= bits;
        bytes.truncate(bytes.len() - cut);
        let _ = decode(&bytes, 128, LIMIT);
    }
}
