
# What a reader may rely on afterwards. Not part of the guide.
PS4="after: "
# A bare `!` ends no script that runs by `set -e`.
not() { ! "$@"; }
[ "$(stat -c %U:%G:%a /etc/atomicity-homeserver/config.toml)" = root:atomicity:640 ]
[ "$(stat -c %U:%a /var/lib/atomicity-homeserver)" = atomicity:700 ]
sudo -u atomicity atomicity-homeserver doctor --json | grep -q '"ok":true,"checks"'
man_pages=$(ls /usr/share/man/man1 | grep -c '^atomicity')
[ "$man_pages" -gt 100 ]
bash -c '. /usr/share/bash-completion/completions/atomicity; . /usr/share/bash-completion/completions/atomicity-homeserver; complete -p atomicity atomicity-homeserver' >/dev/null

unit=/lib/systemd/system/atomicity-homeserver.service
complaints=$(systemd-analyze verify "$unit" 2>&1 | grep atomicity || true)
[ -z "$complaints" ]
# install.md says 1.1 of 10.
systemd-analyze security --offline=true --threshold=11 "$unit" >/dev/null

ready() { curl -fsS --retry 30 --retry-delay 1 --retry-all-errors http://127.0.0.1:6290/health/ready >/dev/null; }
process() { systemctl show --property=MainPID --value atomicity-homeserver; }
if [ -d /run/systemd/system ]; then
    echo "killed, it comes back by itself"
    killed=$(process)
    systemctl kill --signal=KILL atomicity-homeserver
    while [ "$(process)" = "$killed" ] || [ "$(process)" = 0 ]; do sleep 0.2; done
    ready

    echo "stopped, it ends in order"
    systemctl stop atomicity-homeserver
    [ "$(systemctl show --property=Result --value atomicity-homeserver)" = success ]
    systemctl start atomicity-homeserver
    ready

    echo "a newer package takes over from the one that runs"
    old=$(process)
    apt-get install -y --reinstall ./atomicity-homeserver_*.deb >/dev/null
    [ "$(process)" != "$old" ]
    ready
else
    systemctl stop atomicity-homeserver
fi

echo "the package goes, and says what it keeps"
said=$(apt-get purge -y atomicity-homeserver | tr -d '\r')
grep -q '^  /var/lib/atomicity-homeserver/secret$' <<<"$said"
grep -q '^  /etc/atomicity-homeserver.env$' <<<"$said"
[ -f /var/lib/atomicity-homeserver/secret ]
[ ! -e /etc/atomicity-homeserver ]
[ ! -e /usr/bin/atomicity-homeserver ]
[ -z "$(find /etc/systemd /var/lib/systemd /lib/systemd -name '*atomicity*')" ]
not systemctl is-active --quiet atomicity-homeserver

echo "it comes back with the same key, and starts nothing by itself"
before=$PLUGIN
apt-get install -y ./atomicity-homeserver_*.deb >/dev/null
not systemctl is-active --quiet atomicity-homeserver
sudo -u atomicity atomicity-homeserver init | grep -q "$before"

echo "without anything of its own left, it leaves nothing behind"
rm -r /var/lib/atomicity-homeserver /etc/atomicity-homeserver.env
apt-get purge -y atomicity-homeserver >/dev/null
[ ! -e /var/lib/atomicity-homeserver ]
not getent passwd atomicity >/dev/null
apt-get purge -y atomicity >/dev/null
[ -z "$(find /etc /usr /var/lib -name '*atomicity*' -not -path '/var/lib/postgresql/*')" ]
service postgresql stop >/dev/null
