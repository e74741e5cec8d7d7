//! Files of other tools: each is refused, or what it gives works.

use bpe_rs::format::{convert, tiktoken, vocab_merges, LoadOptions, TokenizerJson};
use bpe_rs::hf::{InputSequence, Tokenizer};
use bpe_rs::{Encoding, Pretokenizer, SpecialTokens, Vocab};
use serde_json::{json, Value};

use super::{text, Bytes};

/// Values to put anywhere into a file: valid, nearly valid, invalid.
fn values() -> Vec<Value> {
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true,
        "trim_offsets": true, "use_regex": true});
    vec![
        Value::Null,
        json!(0),
        json!(-1),
        json!(4_294_967_296_u64),
        json!(1.5),
        json!(true),
        json!(""),
        json!("a"),
        json!("Ġa"),
        json!("(?"),
        json!([]),
        json!({}),
        json!(["a", "b"]),
        json!({"type": "NFC"}),
        json!({"type": "Lowercase"}),
        json!({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}),
        json!({"type": "Replace", "pattern": {"String": "a"}, "content": "bb"}),
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Removed", "invert": false},
            {"type": "Digits", "individual_digits": true}, byte_level]}),
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "a|$"}, "behavior": "MergedWithNext",
             "invert": true}, byte_level]}),
        json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<e>", "type_id": 1}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<e>": {"id": "<e>", "ids": [262], "tokens": ["<e>"]}}}),
        json!({"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 1}),
        json!({"strategy": {"Fixed": 7}, "direction": "Left", "pad_to_multiple_of": 4,
            "pad_id": 1, "pad_type_id": 0, "pad_token": "x"}),
        json!({"id": 262, "content": "<e>", "single_word": true, "lstrip": true, "rstrip": true,
            "normalized": true, "special": false}),
        byte_level,
    ]
}

/// A small encoding that every format can hold.
fn small() -> Encoding {
    let bytes = (0..=255u32).map(|byte| (vec![byte as u8], byte));
    let merged = ["he", "ll", "hell", "hello", " w"];
    let merged = merged
        .iter()
        .zip(256..)
        .map(|(token, id)| (token.as_bytes().to_vec(), id));
    Encoding::new(
        "small",
        Vocab::from_ranks(bytes.chain(merged)).unwrap(),
        Pretokenizer::new("gpt2").unwrap(),
        SpecialTokens::new([("<e>".into(), 262)]).unwrap(),
    )
}

/// Changes one thing somewhere below `value`.
fn change(value: &mut Value, bytes: &mut Bytes<'_>, known: &[Value]) {
    let depth = bytes.below(8);
    let mut at = value;
    for _ in 0..depth {
        let step = bytes.below(1 << 16);
        let deeper = match at {
            Value::Object(map) if !map.is_empty() => {
                let key = map
                    .keys()
                    .nth(step % map.len())
                    .cloned()
                    .unwrap_or_default();
                // By key and not by position in the text: the vocabulary has hundreds of entries.
                at.get_mut(key.as_str())
            }
            Value::Array(list) if !list.is_empty() => {
                let len = list.len();
                at.get_mut(step % len)
            }
            _ => break,
        };
        match deeper {
            Some(deeper) => at = deeper,
            None => return,
        }
    }
    match (bytes.below(6), at) {
        (0, Value::Object(map)) => {
            let key = map.keys().nth(bytes.below(map.len())).cloned();
            key.map(|key| map.remove(&key));
        }
        (1, Value::Object(map)) => {
            let key = bytes.pick(&["a", "type", "id", "Ġa", "dropout", "merges", "single_word"]);
            map.insert(key.into(), known[bytes.below(known.len())].clone());
        }
        (0, Value::Array(list)) if !list.is_empty() => {
            list.remove(bytes.below(list.len()));
        }
        (1, Value::Array(list)) => list.push(known[bytes.below(known.len())].clone()),
        (_, at) => *at = known[bytes.below(known.len())].clone(),
    }
}

/// Gives a file other parts around its model, and settings about characters to its model.
fn refurnish(file: &mut Value, bytes: &mut Bytes<'_>) {
    let parts = [
        (
            "normalizer",
            json!([
                null,
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"Regex": "a*"}, "content": "é"},
                {"type": "Strip", "strip_left": true, "strip_right": true},
                {"type": "Nmt"},
                {"type": "ByteLevel"},
                {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                 "strip_accents": true, "lowercase": true},
            ]),
        ),
        (
            "pre_tokenizer",
            json!([
                null,
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true},
                {"type": "Metaspace", "replacement": "é", "prepend_scheme": "always"},
                {"type": "Sequence", "pretokenizers": [
                    {"type": "Whitespace"},
                    {"type": "ByteLevel", "add_prefix_space": true, "use_regex": true},
                    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}]},
                {"type": "BertPreTokenizer"},
                {"type": "FixedLength", "length": 3},
                {"type": "Split", "pattern": {"Regex": "\\b|[[:punct:]]"}, "behavior": "Contiguous",
                 "invert": false},
            ]),
        ),
        (
            "post_processor",
            json!([
                null,
                {"type": "RobertaProcessing", "sep": ["a", 1], "cls": ["b", 2],
                 "trim_offsets": true, "add_prefix_space": true},
                {"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 2]},
            ]),
        ),
        (
            "decoder",
            json!([
                null,
                {"type": "Sequence", "decoders": [
                    {"type": "ByteFallback"}, {"type": "Fuse"},
                    {"type": "Strip", "content": "é", "start": 2, "stop": 2}]},
                {"type": "BPEDecoder", "suffix": "a"},
                {"type": "WordPiece", "prefix": "a", "cleanup": true},
                {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": true},
                {"type": "Metaspace", "replacement": "a", "prepend_scheme": "always"},
            ]),
        ),
    ];
    for (name, choices) in parts {
        let choices = choices.as_array().cloned().unwrap_or_default();
        file[name] = choices[bytes.below(choices.len())].clone();
    }
    let settings = [
        ("byte_fallback", json!(true)),
        ("fuse_unk", json!(true)),
        ("ignore_merges", json!(true)),
        ("unk_token", json!("a")),
        ("end_of_word_suffix", json!("a")),
        ("continuing_subword_prefix", json!("a")),
        ("dropout", json!(0.5)),
    ];
    for (name, value) in settings {
        if bytes.below(4) == 0 {
            file["model"][name] = value;
        }
    }
}

/// A `tokenizer.json` with a few changes, or any text: refused, or it encodes, decodes and is
/// written so that it reads the same.
pub(crate) fn tokenizer_json(data: &[u8]) {
    let mut bytes = Bytes(data);
    let source = if bytes.below(16) == 0 {
        text(bytes.0)
    } else {
        let file = convert::to_tokenizer_json(&small()).unwrap().to_text(false);
        let mut value: Value = serde_json::from_str(&file).unwrap();
        if bytes.below(2) == 0 {
            refurnish(&mut value, &mut bytes);
        }
        for _ in 0..1 + bytes.below(4) {
            let known = values();
            change(&mut value, &mut bytes, &known);
        }
        value.to_string()
    };
    let Ok(file) = TokenizerJson::parse(&source) else {
        return;
    };
    let written = file.to_text(bytes.below(2) == 0);
    let again = TokenizerJson::parse(&written).expect("what was written is read");
    // Tokens are written by id, whatever the order in the file.
    assert_eq!(again.to_text(false), file.to_text(false));
    let text = text(bytes.0);
    if let Ok(encoding) =
        convert::from_tokenizer_json(file.clone(), "x".into(), LoadOptions::default())
    {
        let mut ids = Vec::new();
        if encoding
            .encode(&text, encoding.special().finder(), &mut ids)
            .is_ok()
        {
            encoding.decode(&ids, &mut Vec::new()).unwrap();
        }
    }
    if let Ok(tokenizer) = Tokenizer::new(file) {
        if let Ok(encoding) = tokenizer.encode(&InputSequence::Text(&text), None, true, None) {
            let ids = encoding.ids();
            assert_eq!(encoding.offsets().len(), ids.len());
            assert_eq!(encoding.tokens().len(), ids.len());
            assert_eq!(encoding.word_ids().len(), ids.len());
            let end = text.chars().count() as u32;
            assert!(encoding
                .offsets()
                .iter()
                .all(|&(from, to)| from <= to && to <= end));
            let _ = tokenizer.decode(&ids, false);
        }
    }
}

/// Rank files and pairs of vocab.json and merges.txt.
pub(crate) fn rank_files(data: &[u8]) {
    let mut bytes = Bytes(data);
    if bytes.below(2) == 0 {
        let mut source = String::new();
        while !bytes.is_empty() {
            let token = [
                "IQ==", "YWI=", "YQ==", "YWJj", "=", "", "YQ", "Y===", "IQ==\0",
            ];
            source += bytes.pick(&token);
            source += bytes.pick(&[" ", "", "  ", "\t"]);
            source += bytes.pick(&["0", "1", "2", "300", "4294967295", "4294967296", "-1", "x"]);
            source += bytes.pick(&["\n", "\r\n", "\n\n", ""]);
        }
        if let Ok(ranks) = tiktoken::parse(&source) {
            // Written by rank, read in the file's order.
            let lines = ranks.iter().map(|(token, rank)| (token.as_slice(), *rank));
            let mut again = tiktoken::parse(&tiktoken::write(lines)).unwrap();
            let mut given = ranks.clone();
            again.sort();
            given.sort();
            assert_eq!(again, given);
            if let Ok(vocab) = Vocab::from_ranks(ranks.clone()) {
                assert_eq!(vocab.len(), ranks.len());
            }
        }
        return;
    }
    let mut vocab = serde_json::Map::new();
    let mut merges = String::new();
    for _ in 0..bytes.below(12) {
        let token = bytes.pick(&["a", "b", "ab", "Ġ", "Ġa", "aab", "", " ", "é", "你"]);
        vocab.insert(token.into(), json!(bytes.below(20)));
        merges += bytes.pick(
            &[
                "a b",
                "Ġ a",
                "a ab",
                "a",
                "a b c",
                "",
                "#version: 0.2",
                "é é",
            ][..],
        );
        merges += "\n";
    }
    let vocab = Value::Object(vocab).to_string();
    if let Ok(model) = vocab_merges::parse(&vocab, &merges) {
        if let Ok((vocab, merges)) = vocab_merges::write(&model) {
            assert_eq!(
                vocab_merges::parse(&vocab, &merges).unwrap().merges,
                model.merges
            );
        }
    }
}
