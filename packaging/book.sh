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
# A site shows no folder by itself: those that pages link to get a page that names their files.
for folder in docker ledger/testdata; do
    {
        echo "<!doctype html><meta charset=utf-8><title>$folder</title><h1>$folder</h1><ul>"
        find "$STAGE/$folder" -maxdepth 1 -type f -not -name '.*' -printf '<li><a href="%f">%f</a>\n' | sort
        echo '</ul>'
    } >"$STAGE/$folder.html"
    mv "$STAGE/$folder.html" "$STAGE/$folder/index.html"
done
mdbook build "$STAGE" --dest-dir "$TARGET/book"
echo "$TARGET/book/index.html"
