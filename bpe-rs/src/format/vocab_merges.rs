//! `vocab.json` + `merges.txt`: GPT-2's original pair of files.

use serde_json::value::RawValue;

use super::model::{merge_ids, split_merge, BpeModel};
use crate::error::{quoted, Error, Result};

/// Reads the texts of the two files.
///
/// # Errors
/// `Invalid` where either is malformed, with the line.
pub fn parse(vocab: &str, merges: &str) -> Result<BpeModel> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "vocab.json: expected an object of tokens and ids: {error}"
        ))
    };
    // Checked by itself first, because below it is put inside an object, which it could close.
    serde_json::from_str::<&RawValue>(vocab).map_err(|error| wrong(&error))?;
    let model = format!("{{\"type\":\"BPE\",\"merges\":[],\"vocab\":{vocab}}}");
    let mut model = BpeModel::from_json(&model).map_err(|error| wrong(&error))?;
    let lines = (1..).zip(merges.lines());
    let pairs = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"))
        .map(|(number, line)| {
            split_merge(line).ok_or_else(|| {
                Error::invalid(format!(
                    "merges.txt, line {number}: expected two tokens and a space, got {}",
                    quoted(line)
                ))
            })
        })
        .collect::<Result<Vec<_>>>()?;
    model.merges = merge_ids(&model.vocab, pairs.into_iter(), "merges.txt")?;
    Ok(model)
}

/// The texts of `vocab.json` and `merges.txt`.
///
/// # Errors
/// `Invalid` where a token of a merge has a space: `merges.txt` cannot hold it.
pub fn write(model: &BpeModel) -> Result<(String, String)> {
    let mut by_id: Vec<&(String, u32)> = model.vocab.iter().collect();
    by_id.sort_by_key(|(_, id)| *id);
    let entries: serde_json::Map<String, serde_json::Value> = by_id
        .into_iter()
        .map(|(token, id)| (token.clone(), (*id).into()))
        .collect();
    let vocab = serde_json::Value::Object(entries).to_string();
    let mut merges = String::from("#version: 0.2\n");
    for (left, right) in model.merged_tokens() {
        if left.contains([' ', '\n']) || right.contains([' ', '\n']) {
            return Err(Error::invalid(format!(
                "merges.txt holds tokens without spaces, got {left} and {right}; \
                 save as tokenizer.json",
                left = quoted(left),
                right = quoted(right)
            )));
        }
        merges.push_str(left);
        merges.push(' ');
        merges.push_str(right);
        merges.push('\n');
    }
    Ok((vocab, merges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let vocab = r#"{"a":0,"b":1,"ab":2,"Ġ":3}"#;
        let model = parse(vocab, "#version: 0.2\na b\n").unwrap();
        assert_eq!(model.merges, [(0, 1)]);
        assert_eq!(
            write(&model).unwrap(),
            (vocab.to_string(), "#version: 0.2\na b\n".to_string())
        );
    }

    #[test]
    fn errors_name_the_line() {
        let error = parse("{}", "#version: 0.2\n\nabc\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 3") && error.contains("abc"), "{error}");
        for vocab in ["[1]", "", r#"{"a":0},"ignore_merges":true"#] {
            let error = parse(vocab, "").unwrap_err().to_string();
            assert!(error.contains("vocab.json"), "{error}");
        }
    }
}
