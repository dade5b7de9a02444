// Waits for the authenticator and goes on by itself. Without it a button does.

const status = document.getElementById("stage");
const finish = document.getElementById("finish");

async function look() {
  let said;
  try {
    said = await (await fetch("/wallet/login", { cache: "no-store" })).json();
  } catch {
    return true;
  }
  if (said.stage === "none") {
    location.reload();
    return false;
  }
  if (status.dataset.stage !== said.stage) {
    status.dataset.stage = said.stage;
    status.textContent = said.words;
  }
  if (said.stage === "approved") {
    finish.requestSubmit();
    return false;
  }
  return said.stage !== "failed";
}

async function wait() {
  while (await look()) await new Promise((go) => setTimeout(go, 1000));
}

if (status && finish) wait();
