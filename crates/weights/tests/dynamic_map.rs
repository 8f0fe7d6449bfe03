//! The maps of 8-bit codes against bitsandbytes, bit for bit (`python/reference/bitsandbytes_nf4.py`).

use safetensors::SafeTensors;
use weights::dynamic_map;

#[test]
fn both_maps_equal_the_reference_bit_for_bit() {
    let bytes: &[u8] = include_bytes!("fixtures/nf4/reference.safetensors");
    let file = SafeTensors::deserialize(bytes).unwrap();
    for (name, signed) in [("signed", true), ("unsigned", false)] {
        let view = file.tensor(&format!("dynamic_map.{name}")).unwrap();
        let expected: Vec<u32> = view
            .data()
            .chunks_exact(4)
            .map(|four| u32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        let found: Vec<u32> = dynamic_map(signed).iter().map(|v| v.to_bits()).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn zero_and_one_have_codes_of_their_own() {
    assert_eq!(dynamic_map(true)[127], 0.0);
    assert_eq!(dynamic_map(false)[0], 0.0);
    for signed in [true, false] {
        let map = dynamic_map(signed);
        assert_eq!(map[255], 1.0);
        assert!(map.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
