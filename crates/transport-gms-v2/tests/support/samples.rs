//! Owns the way to the samples, for tests of shapes and of what they mean.

#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; not every test uses each")]

use std::fs;

use serde_json::{Value, json};

/// Every sample, with its name.
pub(crate) fn samples() -> Vec<(String, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples");
    let mut samples: Vec<(String, Value)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        })
        .filter(|(name, _): &(String, Value)| name != "00-index")
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(samples.len(), 105);
    samples
}

/// The sample whose name begins so.
pub(crate) fn sample(name: &str) -> Value {
    samples().into_iter().find(|(known, _)| known.starts_with(name)).unwrap().1
}

/// Every envelope of the samples, whichever way it travels.
pub(crate) fn envelopes() -> Vec<(String, Value)> {
    let mut out = Vec::new();
    for (name, sample) in samples() {
        let json = &sample["response"]["json"];
        let batches = [json, &sample["serverMessage"]];
        let data = batches.into_iter().filter_map(Value::as_array).flatten().map(|message| &message["data"]);
        let data = data.filter(|data| data.is_object());
        let whole = json.is_object().then_some(json);
        out.extend(whole.into_iter().chain(data).map(|envelope| (name.clone(), envelope.clone())));
    }
    out
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | DIGITS.iter().position(|known| *known == digit).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// A response's body, as bytes.
pub(crate) fn body(response: &Value) -> Vec<u8> {
    match (&response["text"], &response["bodyBase64"], &response["json"]) {
        (Value::String(text), ..) => text.clone().into_bytes(),
        (_, Value::String(text), _) => base64(text),
        (.., json) => json.to_string().into_bytes(),
    }
}

/// Values that do not fit, whatever the member.
fn wrong() -> Vec<Value> {
    vec![
        json!(null),
        json!(7),
        json!(-7.5),
        json!(1e300),
        json!(true),
        json!("something unknown"),
        json!(""),
        json!([]),
        json!([1]),
        json!({}),
        json!({"a": {}}),
    ]
}

/// All values that differ from `value` in one member, at any depth, with the path of that member.
pub(crate) fn damages(value: &Value, path: &str, out: &mut Vec<(String, Value)>) {
    let children: Vec<(String, Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, value)| (at.to_string(), value.clone())).collect()
        }
        _ => return,
    };
    let set = |key: &str, new: Option<Value>| {
        let mut copy = value.clone();
        match (&mut copy, new) {
            (Value::Object(members), Some(new)) => drop(members.insert(key.to_owned(), new)),
            (Value::Object(members), None) => drop(members.remove(key)),
            (Value::Array(items), Some(new)) => items[key.parse::<usize>().unwrap()] = new,
            (Value::Array(items), None) => drop(items.remove(key.parse().unwrap())),
            _ => {}
        }
        copy
    };
    for (key, child) in children {
        let path = format!("{path}/{key}");
        out.push((path.clone(), set(&key, None)));
        out.extend(wrong().into_iter().map(|wrong| (path.clone(), set(&key, Some(wrong)))));
        let mut inner = Vec::new();
        damages(&child, &path, &mut inner);
        out.extend(inner.into_iter().map(|(path, damaged)| (path, set(&key, Some(damaged)))));
    }
}
