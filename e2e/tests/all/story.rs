//! The story that `make demo` tells.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_the_story_goes_as_it_says() {
    let told = atomicity_e2e::story::play(|line| println!("{line}")).await;
    let stage = told.unwrap_or_else(|error| panic!("{error:#}"));
    // The commands that the demo ends with work when pasted.
    let lines = stage.addresses();
    let commands = lines
        .iter()
        .filter_map(|line| line.split_once("'s wallet: "));
    let mut pasted = 0;
    for (who, command) in commands {
        let run = tokio::process::Command::new("bash")
            .args(["-c", command])
            .output();
        let output = run.await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{who}: {command}");
        assert!(said.contains("BREAD"), "{who}: {command}: {said}");
        pasted += 1;
    }
    assert_eq!(pasted, 2, "{lines:?}");
}
