#!/usr/bin/env bash
# Makes the site of the docs in target/book. The pages are copied first, together with what they link to, so that every link of theirs works on the site too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
readonly STAGE=$TARGET/book-source

export PATH="$TARGET/tools/bin:$PATH"
e2e/tools.sh book
rm -rf "$STAGE" "$TARGET/book"
mkdir -p "$STAGE/ledger"
cp -r README.md CHANGELOG.md LICENSE docs docker "$STAGE/"
cp -r ledger/testdata "$STAGE/ledger/"
mv "$STAGE/docs/book.toml" "$STAGE/book.toml"
# Seen from the top, where the book begins.
sed -E 's|\]\(\.\./|](|; t; s|\]\(([a-zA-Z])|](docs/\1|' "$STAGE/docs/SUMMARY.md" >"$STAGE/SUMMARY.md"
rm "$STAGE/docs/SUMMARY.md"
# On a site, a README is the page of its folder.
find "$STAGE/README.md" "$STAGE/docs" -name '*.md' -exec sed -i -E 's/README\.md([)#])/index.html\1/g' {} +
mdbook build "$STAGE" --dest-dir "$TARGET/book"
echo "$TARGET/book/index.html"
