//! The crate carries its own copy of the contract, so that it can be published alone.

#[test]
fn the_copy_of_the_contract_is_the_repositorys() {
    let own = include_str!("../wit/hookmill.wit");
    let repository = include_str!("../../wit/hookmill.wit");
    assert_eq!(
        own, repository,
        "copy wit/hookmill.wit to plugin-sdk/wit/hookmill.wit"
    );
}
