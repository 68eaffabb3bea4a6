use super::*;
use crate::codec::{Input, Result};
use ::bytes::Bytes;
use arrow_buffer::{BooleanBuffer, NullBuffer};
use proptest::prelude::*;

/// Decodes exactly `encoded`; bytes behind it must not be looked at.
fn whole<T>(encoded: &[u8], decode: impl FnOnce(&mut Input<'_>) -> Result<T>) -> T {
    let mut bytes = encoded.to_vec();
    bytes.extend_from_slice(&[0xA5; 9]);
    let bytes = Bytes::from(bytes);
    let mut input = Input::new(&bytes, 0, bytes.len());
    let decoded = decode(&mut input).unwrap();
    assert_eq!(input.at, encoded.len(), "bytes taken");
    decoded
}

/// What `decode` makes of damaged bytes, if anything.
fn damaged<T>(encoded: &[u8], damage: &Damage, decode: impl FnOnce(&mut Input<'_>) -> Result<T>) -> Option<T> {
    let mut bytes = encoded.to_vec();
    match *damage {
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Set(at, byte) => *at.get_mut(&mut bytes) = byte,
        Damage::Noise(ref noise) => bytes.clone_from(noise),
    }
    let bytes = Bytes::from(bytes);
    decode(&mut Input::new(&bytes, 0, bytes.len())).ok()
}

#[derive(Clone, Debug)]
enum Damage {
    Cut(prop::sample::Index),
    Set(prop::sample::Index, u8),
    Noise(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => (0u8..8, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(tag, mut noise)| {
            noise.insert(0, tag);
            Damage::Noise(noise)
        }),
    ]
}

fn one_int() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -3i64..3, any::<i16>().prop_map(i64::from)]
}

fn ints() -> impl Strategy<Value = Vec<i64>> {
    let sorted = prop::collection::vec(0i64..1 << 40, 0..300).prop_map(|mut v| {
        v.sort_unstable();
        v
    });
    let runs = prop::collection::vec((one_int(), 1usize..60), 0..12)
        .prop_map(|runs| runs.into_iter().flat_map(|(value, length)| std::iter::repeat_n(value, length)).collect());
    let few = (prop::collection::vec(any::<i64>(), 1..20), prop::collection::vec(any::<prop::sample::Index>(), 0..300))
        .prop_map(|(values, picks)| picks.iter().map(|pick| *pick.get(&values)).collect());
    let money = prop::collection::vec((any::<i32>(), 0u8..40), 0..300).prop_map(|cents| cents.into_iter().map(money_bits).collect());
    let floats = prop::collection::vec(any::<f64>().prop_map(|f| f.to_bits() as i64), 0..100);
    let narrow = (any::<i64>(), 0u32..64, prop::collection::vec(any::<u64>(), 0..300))
        .prop_map(|(base, shift, values)| values.into_iter().map(|v| base.wrapping_add((v >> shift) as i64)).collect());
    prop_oneof![prop::collection::vec(one_int(), 0..40), sorted, runs, few, money, floats, narrow]
}

fn money_bits((cents, odd): (i32, u8)) -> i64 {
    let value = match odd {
        0 => f64::NAN,
        1 => -0.0,
        2 => f64::INFINITY,
        3 => f64::from(cents) / 3.0,
        _ => f64::from(cents) / 100.0,
    };
    value.to_bits() as i64
}

fn strings() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let any_string = || prop::collection::vec(any::<u8>(), 0..20);
    let few = (prop::collection::vec(any_string(), 1..9), prop::collection::vec(any::<prop::sample::Index>(), 0..300))
        .prop_map(|(values, picks)| picks.iter().map(|pick| pick.get(&values).clone()).collect());
    let alike = prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..9), 0..100);
    prop_oneof![prop::collection::vec(any_string(), 0..60), few, alike]
}

fn slices(strings: &[Vec<u8>]) -> Vec<&[u8]> {
    strings.iter().map(Vec::as_slice).collect()
}

fn bits() -> impl Strategy<Value = BooleanBuffer> {
    let dense = prop::collection::vec(any::<bool>(), 0..300);
    let sparse = prop::collection::vec(0u8..40, 0..600).prop_map(|v| v.into_iter().map(|n| n == 0).collect::<Vec<_>>());
    let rare = prop::collection::vec(0u8..40, 0..600).prop_map(|v| v.into_iter().map(|n| n != 0).collect::<Vec<_>>());
    let same = (any::<bool>(), 0usize..100).prop_map(|(bit, count)| vec![bit; count]);
    (prop_oneof![dense, sparse, rare, same], 0usize..9).prop_map(|(bits, skip)| {
        let all = BooleanBuffer::from(bits);
        all.slice(skip.min(all.len()), all.len() - skip.min(all.len()))
    })
}

fn string_at<'a>(offsets: &[i32], data: &'a [u8], i: usize) -> &'a [u8] {
    &data[offsets[i] as usize..offsets[i + 1] as usize]
}

fn all_strings(offsets: &[i32], data: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!((offsets[0], offsets[offsets.len() - 1] as usize), (0, data.len()));
    (0..offsets.len() - 1).map(|i| string_at(offsets, data, i).to_vec()).collect()
}

fn column_strings(column: &ByteColumn) -> Vec<Vec<u8>> {
    match column {
        ByteColumn::Plain { offsets, data } => all_strings(offsets, data),
        ByteColumn::Dictionary { codes, offsets, data } => {
            let distinct = all_strings(offsets, data);
            codes.iter().map(|&code| distinct[code as usize].clone()).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn integers_come_back(values in ints(), damage in damage()) {
        let mut out = Vec::new();
        encode_ints(&values, &mut out);
        prop_assert!(out.len() <= 24 + 9 * values.len(), "{} bytes for {} values", out.len(), values.len());
        prop_assert_eq!(&whole(&out, |input| decode_ints(input, values.len())), &values);
        if let Some(found) = damaged(&out, &damage, |input| decode_ints(input, values.len())) {
            prop_assert_eq!(found.len(), values.len());
        }
    }

    #[test]
    fn byte_strings_come_back(values in strings(), damage in damage()) {
        let mut out = Vec::new();
        encode_bytes(&slices(&values), &mut out);
        prop_assert_eq!(&column_strings(&whole(&out, |input| decode_bytes(input, values.len()))), &values);
        if let Some(found) = damaged(&out, &damage, |input| decode_bytes(input, values.len())) {
            prop_assert_eq!(column_strings(&found).len(), values.len());
        }
    }

    #[test]
    fn keys_come_back(mut keys in strings(), sorted: bool, damage in damage()) {
        if sorted {
            keys.sort();
        }
        let mut out = Vec::new();
        encode_keys(&slices(&keys), &mut out);
        let (offsets, data) = whole(&out, |input| decode_keys(input, keys.len()));
        prop_assert_eq!(&all_strings(&offsets, &data), &keys);
        if let Some((offsets, data)) = damaged(&out, &damage, |input| decode_keys(input, keys.len())) {
            prop_assert_eq!(all_strings(&offsets, &data).len(), keys.len());
        }
    }

    #[test]
    fn keys_of_any_length_come_back_however_much_they_share(lengths in prop::collection::vec((0usize..90, 0usize..40), 1..30), salt: u8) {
        let mut keys: Vec<Vec<u8>> = vec![(0..80).collect()];
        for (i, (shared, own)) in lengths.into_iter().enumerate() {
            let mut key = keys[i].clone();
            key.truncate(shared);
            key.extend((0..own).map(|at| (at as u8).wrapping_mul(7) ^ salt ^ i as u8));
            keys.push(key);
        }
        let mut out = Vec::new();
        encode_keys(&slices(&keys), &mut out);
        let (offsets, data) = whole(&out, |input| decode_keys(input, keys.len()));
        prop_assert_eq!(&all_strings(&offsets, &data), &keys);
    }

    #[test]
    fn booleans_come_back(values in bits(), damage in damage()) {
        let mut out = Vec::new();
        encode_bools(&values, &mut out);
        prop_assert_eq!(&whole(&out, |input| decode_bools(input, values.len())), &values);
        if let Some(found) = damaged(&out, &damage, |input| decode_bools(input, values.len())) {
            prop_assert_eq!(found.len(), values.len());
        }
    }

    #[test]
    fn presence_comes_back(present in bits(), damage in damage()) {
        let mut out = Vec::new();
        encode_presence(&present, &mut out);
        prop_assert!(out.len() <= 1 + present.len().div_ceil(8).max(8));
        let found = whole(&out, |input| decode_presence(input, present.len()));
        prop_assert_eq!(found.is_none(), present.count_set_bits() == present.len());
        let found = found.unwrap_or_else(|| NullBuffer::new_valid(present.len()));
        prop_assert_eq!(found.inner(), &present);
        if let Some(Some(found)) = damaged(&out, &damage, |input| decode_presence(input, present.len())) {
            prop_assert_eq!(found.len(), present.len());
        }
    }

    #[test]
    fn values_are_spread_over_the_rows_present(present in bits(), seed in any::<i64>()) {
        let rows: Vec<Option<Vec<u8>>> =
            present.iter().enumerate().map(|(i, is)| is.then(|| seed.wrapping_mul(i as i64).to_le_bytes()[..i % 8].to_vec())).collect();
        let there: Vec<&[u8]> = rows.iter().flatten().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        encode_bytes(&there, &mut out);
        let nulls = NullBuffer::new(present.clone());
        let want: Vec<Vec<u8>> = rows.iter().map(|row| row.clone().unwrap_or_default()).collect();
        match whole(&out, |input| decode_bytes(input, there.len())) {
            ByteColumn::Plain { offsets, data } => {
                prop_assert_eq!(all_strings(&spread_offsets(&offsets, &nulls).unwrap(), &data), want);
            }
            ByteColumn::Dictionary { codes, offsets, data } => {
                let codes = spread(&codes, &nulls).unwrap();
                for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.is_some()) {
                    prop_assert_eq!(string_at(&offsets, &data, codes[i] as usize), row.as_deref().unwrap());
                }
            }
        }
        prop_assert!(spread(&vec![1i64; there.len() + 1], &nulls).is_err());
    }
}

/// The tag that integers are written with, and their size.
fn tag_and_size(values: &[i64]) -> (u8, usize) {
    let mut out = Vec::new();
    encode_ints(values, &mut out);
    assert_eq!(whole(&out, |input| decode_ints(input, values.len())), values);
    (out[0], out.len())
}

fn noise(i: i64) -> i64 {
    let mixed = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20) as i64
}

#[test]
fn the_smallest_encoding_is_chosen() {
    let all = |f: &dyn Fn(i64) -> i64| tag_and_size(&(0..1000).map(f).collect::<Vec<_>>());
    assert_eq!(all(&|i| noise(i) << 20 ^ noise(i)), (0, 8_001), "plain");
    assert_eq!(all(&|_| -7), (1, 2), "constant");
    assert_eq!(all(&|i| 1_000_000 + noise(i) % 1000).0, 2, "packed");
    assert_eq!(all(&|i| i << 30).0, 3, "steps");
    assert_eq!(all(&|i| noise(i / 100)).0, 4, "runs");
    assert_eq!(all(&|i| noise(noise(i) % 10)).0, 5, "dictionary");
    let (tag, size) = all(&|i| ((noise(i) % 100_000) as f64 / 100.0).to_bits() as i64);
    assert!(tag == 6 && size < 1000 * 17 / 8 + 30, "decimals: {tag}, {size} bytes");
}

#[test]
fn a_count_that_no_page_has_claims_no_memory() {
    let mut out = Vec::new();
    encode_ints(&[5; 3], &mut out);
    let bytes = Bytes::from(out);
    let input = || Input::new(&bytes, 0, bytes.len());
    assert_eq!(decode_ints(&mut input(), MAX_VALUES).unwrap().len(), MAX_VALUES);
    for count in [MAX_VALUES + 1, usize::MAX] {
        assert!(decode_ints(&mut input(), count).is_err());
        assert!(decode_bytes(&mut input(), count).is_err());
        assert!(decode_keys(&mut input(), count).is_err());
        assert!(decode_bools(&mut input(), count).is_err());
        assert!(decode_presence(&mut input(), count).is_err());
    }
}

#[test]
fn keys_that_share_all_but_nothing_are_bounded() {
    let key = [7u8; 4096];
    let keys = vec![&key[..]; MAX_KEYS_BYTES / key.len()];
    let mut out = Vec::new();
    encode_keys(&keys, &mut out);
    assert!(out.len() < 4200);
    let bytes = Bytes::from(out);
    assert_eq!(decode_keys(&mut Input::new(&bytes, 0, bytes.len()), keys.len()).unwrap().1.len(), MAX_KEYS_BYTES);
    assert!(decode_keys(&mut Input::new(&bytes, 0, bytes.len()), keys.len() + 1).is_err());
}
