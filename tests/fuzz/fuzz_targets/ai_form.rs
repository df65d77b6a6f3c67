//! Any form: the name of the model is all that changes, and the changed form says what it should.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sluicegate::ai::body::{Form, Naming};

fuzz_target!(|input: (Option<&str>, &[u8])| {
    let (content_type, body) = input;
    let content_type = content_type.unwrap_or("multipart/form-data; boundary=b");
    let body = Bytes::copy_from_slice(body);
    let Ok(form) = Form::read(content_type.as_bytes(), &body, Naming::Body) else { return };
    assert_eq!(form.with_model(form.model()).as_ptr(), body.as_ptr());
    let changed = form.with_model("another/name");
    assert_eq!(changed.len() + form.model().len(), body.len() + "another/name".len());
    let again = Form::read(content_type.as_bytes(), &changed, Naming::Body).expect("it is a form as before");
    assert_eq!((again.model(), again.stream, again.answers), ("another/name", form.stream, form.answers));
    assert_eq!(again.with_model(form.model()), body);
});
