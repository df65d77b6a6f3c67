use super::*;

const TYPE: &[u8] = b"multipart/form-data; boundary=xYz";

fn part(head: &str, value: &str) -> String {
    format!("--xYz\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
}

fn form(parts: &[String]) -> Bytes {
    format!("{}--xYz--\r\n", parts.concat()).into()
}

fn file() -> String {
    part("name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav", "RIFF\r\n--xY\r\nname=\"model\"\r\n\r\n--")
}

#[test]
fn a_form_names_its_model() {
    let body =
        form(&[file(), part("name=\"model\"", "whisper-1"), part("name=\"stream\"", "true"), part("name=\"n\"", "2")]);
    let form = Form::read(TYPE, &body, Naming::Body).unwrap();
    assert_eq!((form.model(), form.stream, form.answers), ("whisper-1", true, 2));
}

#[test]
fn files_and_prompts_are_measured() {
    let body = form(&[
        part("name=\"image[]\"; filename=\"a.png\"", "12345"),
        part("name=\"image[]\"", "123"),
        part("name=\"model\"", "m"),
        part("name=\"prompt\"", "12345678"),
        part("name=\"mask\"; filename=\"b.png\"", ""),
    ]);
    let form = Form::read(TYPE, &body, Naming::Body).unwrap();
    assert_eq!((form.files, form.file_bytes, form.prompt_bytes), (3, 8, 8));
}

#[test]
fn only_the_name_of_the_model_changes() {
    let body = form(&[file(), part("name=\"model\"", "whisper-1"), part("name=\"prompt\"", "whisper-1")]);
    let form = Form::read(TYPE, &body, Naming::Body).unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(form.with_model("a/b"), text.replacen("whisper-1", "a/b", 1));
    let same = form.with_model("whisper-1");
    assert_eq!(same.as_ptr(), body.as_ptr());
}

#[test]
fn a_boundary_may_be_quoted_and_a_preamble_may_come_first() {
    let body = form(&[part("name=model", "m")]);
    for content_type in [
        "multipart/form-data; boundary=\"xYz\"",
        "Multipart/Form-Data;charset=utf-8 ; BOUNDARY=xYz;",
        "multipart/form-data; x=\"a;boundary=no\"; boundary=xYz",
    ] {
        assert_eq!(Form::read(content_type.as_bytes(), &body, Naming::Body).unwrap().model(), "m", "{content_type}");
    }
    let text = String::from_utf8(body.to_vec()).unwrap();
    let around = format!("preamble --xYz\r\n{}epilogue", text.replace("--xYz\r\n", "--xYz \t\r\n"));
    assert_eq!(Form::read(TYPE, &around.into(), Naming::Body).unwrap().model(), "m");
    assert_eq!(Form::read(TYPE, &text.trim_end().to_owned().into(), Naming::Body).unwrap().model(), "m");
}

#[test]
fn other_content_types_are_no_forms() {
    let body = form(&[part("name=model", "m")]);
    for content_type in [
        "application/json",
        "multipart/mixed; boundary=xYz",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=xYz; boundary=xYz",
        "multipart/form-data; boundary=\"xYz",
        "multipart/form-data boundary=xYz",
        "multipart/form-data; boundary=xYz x",
        "multipart/form-data; boundary=\"a\r\nb\"",
        "multipart/form-data; boundary=abc",
    ] {
        assert_eq!(
            Form::read(content_type.as_bytes(), &body, Naming::Body).unwrap_err(),
            BadBody::NotForm,
            "{content_type}"
        );
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let model = part("name=\"model\"", "m");
    let twice = form(&[model.clone(), part("name=\"model\"", "n")]);
    assert_eq!(Form::read(TYPE, &twice, Naming::Body).unwrap_err(), BadBody::Twice(Some("model")));
    for body in [
        form(std::slice::from_ref(&model)).slice(..model.len()),
        form(&[model.replace("\r\n", "\n")]),
        form(&[model.replacen("--xYz", "--xYz-", 1)]),
        form(&[model.clone(), "--xYzz\r\n\r\n\r\n".into()]),
        form(&[part("name=\"mod\\el\"", "m")]),
        form(&[part("name=\"model\"; name=\"x\"", "m")]),
        form(&[part("name*=utf-8''model", "m")]),
        form(&[part("name=\"model\"\r\n folded: 1", "m")]),
        form(&[part("name=\"model\"\r\nContent-Disposition: form-data; name=\"x\"", "m")]),
        form(&[part("name =\"model\"", "m")]),
        form(&["--xYz\r\nno head\r\n".into()]),
        format!("--xYz--\r\n{model}--xYz--").into(),
        format!("{model}--xYz--\r\n{model}--xYz--").into(),
        format!("{model}--xYz--x").into(),
        form(&[part(&format!("name=\"x\"; filename=\"{}\"", "f".repeat(MAX_PART_HEAD)), "")]),
        form(&vec![part("name=\"x\"", ""); MAX_PARTS + 1]),
    ] {
        let text = String::from_utf8_lossy(&body).chars().take(200).collect::<String>();
        assert!(
            matches!(Form::read(TYPE, &body, Naming::Body), Err(BadBody::NotForm | BadBody::MissingModel)),
            "{text}"
        );
    }
}

#[test]
fn a_form_without_a_model_is_refused() {
    let read = |parts: &[String]| Form::read(TYPE, &form(parts), Naming::Body).unwrap_err();
    assert_eq!(read(&[file()]), BadBody::MissingModel);
    assert_eq!(read(&[part("name=\"model\"", "")]), BadBody::MissingModel);
    assert_eq!(read(&[part("name=\"model\"; filename=\"m\"", "m")]), BadBody::Invalid("model"));
    assert_eq!(read(&[part("name=\"model\"\r\nContent-Transfer-Encoding: base64", "bQ==")]), BadBody::Invalid("model"));
    assert_eq!(read(&[part("name=\"model\"", "a\r\nb")]), BadBody::Invalid("model"));
    assert_eq!(read(&[part("name=\"model\"", "m"), part("name=\"n\"", "many")]), BadBody::Invalid("n"));
    assert_eq!(Form::read(TYPE, &Bytes::new(), Naming::Body).unwrap_err(), BadBody::NotForm);
}

#[test]
fn parts_may_have_no_name_and_no_head() {
    let body = form(&["--xYz\r\n\r\nno head\r\n".into(), part("filename=\"x\"", ""), part("name=model", "m")]);
    assert_eq!(Form::read(TYPE, &body, Naming::Body).unwrap().model(), "m");
    let body = form(&[part("name=\"model\"\r\nContent-Transfer-Encoding: 8bit", "m")]);
    assert_eq!(Form::read(TYPE, &body, Naming::Body).unwrap().model(), "m");
}
