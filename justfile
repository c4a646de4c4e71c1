# Recipes for contributors. CONTRIBUTING.md says what they need and how long they take.

_list:
    @just --list

# Run the README's test command: all tests but those on real nodes
test:
    tests/run

# Run the unit tests and the quick integration tests, in four minutes
test-fast:
    cargo test --lib --test ca --test cli --test external --test field --test kubeadm \
        --test metadata --test own --test pages --test restore --test roll_back --test threat_model

# Run the cases on real control-plane nodes whose names contain FILTER (as root)
node FILTER='':
    tests/node/run {{ FILTER }}

# Write the manual pages and completions again
pages:
    UPDATE_PAGES=1 cargo test --test pages

# Make the pictures of docs/ again, from what the program prints to a terminal
pictures:
    packaging/pictures

# Run everything that decides whether a change may land (as root on Debian 12)
ci:
    .ci/run
