//! Examples below the help of each command that is not plain without one. They are parsed by a test.

use atomicity_handbook::Examples;

/// What is shown with which command.
pub const EXAMPLES: Examples = &[
    (
        "init",
        &[
            r#"atomicity init --name "the baker""#,
            "atomicity init --import old-root.pkarr",
        ],
    ),
    (
        "signup",
        &[
            "atomicity signup 8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo --plugin https://credit.example.org",
        ],
    ),
    (
        "unit open",
        &[
            "atomicity unit open BREAD/2",
            r#"atomicity unit open HOUR/2 --cap "20.00 HOUR""#,
        ],
    ),
    (
        "friend add",
        &["atomicity friend add 8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo --name ben"],
    ),
    (
        "friend limit",
        &[
            r#"atomicity friend limit ben "20.00 USD""#,
            r#"atomicity friend limit ben "5.00 USD" --issue"#,
        ],
    ),
    (
        "issue",
        &[r#"atomicity issue ben "2.00 BREAD" --memo "two loaves""#],
    ),
    (
        "pay",
        &[
            "atomicity pay atomicity:invoice… --dry-run",
            r#"atomicity pay ben "2.00 USD" --max-fee 0.02"#,
            "atomicity pay atomicity:invoice… --with EUR",
        ],
    ),
    (
        "invoice",
        &[r#"atomicity invoice "5.00 USD" --memo "a haircut" --expires 1d"#],
    ),
    (
        "forward on",
        &[
            "atomicity forward on --all --unit USD --fee 0.01 --ppm 2000",
            "atomicity forward on ben --unit USD",
        ],
    ),
    ("forward clear", &["atomicity forward clear USD"]),
    (
        "clear",
        &["atomicity clear --dry-run", "atomicity clear USD"],
    ),
    (
        "reassign",
        &[r#"atomicity reassign ben cleo "5.00 USD" --dry-run"#],
    ),
    (
        "endpoint add",
        &[
            "atomicity endpoint add btc-lightning-bolt12 lno1…",
            r#"atomicity endpoint add usd-cash-hand "at the café" --for ben"#,
        ],
    ),
    (
        "rule add friend-of",
        &["atomicity rule add friend-of nora 20 USD --total 200 USD"],
    ),
    (
        "rule add tag",
        &["atomicity rule add tag neighbour 10 USD --total 100 USD"],
    ),
    (
        "rule add distance",
        &["atomicity rule add distance 2 5 USD --total 50 USD"],
    ),
    ("rule try", &["atomicity rule try ben"]),
    (
        "agent on",
        &[r#"atomicity agent on --until 30d --limit "50 USD""#],
    ),
    (
        "app grant",
        &["atomicity app grant 8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo --for 7d"],
    ),
    (
        "account new",
        &[r#"atomicity account new shop --per-day "5.00 USD" --to ben --key-file shop.key"#],
    ),
    (
        "account spend",
        &[r#"atomicity account spend --key-file shop.key --amount "2.00 USD" --to ben --wait"#],
    ),
    (
        "exchange offer",
        &["atomicity exchange offer 1 EUR for 1.08 USD --max 100"],
    ),
    (
        "settle",
        &[
            r#"atomicity settle ben "5.00 USD" --invoice lnbc…"#,
            r#"atomicity settle ben "5.00 USD" --to usd-cash-hand=at-the-door"#,
            r#"atomicity settle "5.00 USD" --anyone --invoice lnbc…"#,
        ],
    ),
    (
        "settle auto",
        &[r#"atomicity settle auto --up-to "50 USD" --rate 1000sat --per-day "100 USD""#],
    ),
    (
        "settle auto-confirm",
        &[r#"atomicity settle auto-confirm --up-to "20 USD" --of ben"#],
    ),
    (
        "request new",
        &[
            r#"atomicity request new "270.00 USD" --together --memo "the dinner""#,
            r#"atomicity request new "500.00 USD" --every month --to ben --memo rent"#,
        ],
    ),
    (
        "request pay",
        &[r#"atomicity request pay atomicity:request… "30.00 USD""#],
    ),
    (
        "request approve",
        &[r#"atomicity request approve atomicity:request… --up-to "510 USD" --until 2031-12-24"#],
    ),
    (
        "call add",
        &[
            r#"atomicity call add ben --over "50 USD""#,
            "atomicity call add --all --after 30d",
        ],
    ),
    (
        "rail add lnd",
        &[
            "atomicity rail add lnd --url https://127.0.0.1:8080 --cert ~/.lnd/tls.cert --macaroon ~/.lnd/pay.macaroon",
        ],
    ),
    (
        "rail add cln",
        &["atomicity rail add cln --url https://127.0.0.1:3010 --cert server.pem --rune pay.rune"],
    ),
    (
        "rail add bitcoind",
        &["atomicity rail add bitcoind --wallet pays --cookie ~/.bitcoin/.cookie"],
    ),
    (
        "rail add manual",
        &["atomicity rail add manual --method usd-cash-hand --method eur-sepa-iban"],
    ),
    (
        "log add",
        &["atomicity log add https://credit.example.org/log"],
    ),
    (
        "proposals",
        &[
            "atomicity proposals",
            "atomicity proposals accept Zm9yIHRoZSBiYWtlcg --max-fee \"0.10 USD\"",
        ],
    ),
    (
        "services",
        &["atomicity services", "atomicity services router --known"],
    ),
    (
        "rate",
        &[
            r#"atomicity rate 8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo good --memo "always there""#,
        ],
    ),
    ("history", &["atomicity history ben --unit USD --limit 10"]),
    (
        "evidence export",
        &["atomicity evidence export ben --out ben-owes-me.jsonl"],
    ),
    (
        "evidence verify",
        &["atomicity evidence verify ben-owes-me.jsonl"],
    ),
    ("recover", &["atomicity recover --root-file root.pkarr"]),
    (
        "move",
        &[
            "atomicity move 8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo --plugin https://credit.example.org",
        ],
    ),
    (
        "completions",
        &[
            "atomicity completions bash > ~/.local/share/bash-completion/completions/atomicity",
            "atomicity completions fish > ~/.config/fish/completions/atomicity.fish",
        ],
    ),
    ("man", &["atomicity man ~/.local/share/man/man1"]),
    (
        "serve",
        &[
            "atomicity serve",
            "atomicity serve --listen 127.0.0.1:8080 --allow-origin https://shop.example",
            "atomicity serve --openapi > wallet.json",
        ],
    ),
];
