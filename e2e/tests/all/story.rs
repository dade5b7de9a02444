//! The story that `make demo` tells.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_the_story_goes_as_it_says() {
    let told = atomicity_e2e::story::play(|line| println!("{line}")).await;
    if let Err(error) = told {
        panic!("{error:#}");
    }
}
