use super::*;

#[test]
fn every_key_has_a_default_or_may_be_left_out() {
    let defaults = file::defaults().unwrap();
    let unset: Vec<_> = Key::ALL.into_iter().filter(|key| defaults.written(*key).is_none()).collect();
    assert_eq!(unset, [Key::ConnectionsMax]);
}

#[test]
fn every_key_is_in_the_list_of_all() {
    assert!(Key::ALL.is_sorted());
    assert_eq!(Key::ALL.len(), Key::DefaultVhost as usize + 1);
}

#[test]
fn a_password_is_not_in_debug_output() {
    let file = parse_file(Path::new("c"), "defaults.password = 'secret'").unwrap();
    let config = Resolved::new(file, Settings::default(), Settings::default()).unwrap().into_config();
    assert_eq!(config.defaults.password, "secret");
    assert!(!format!("{config:?}").contains("secret"));
}
