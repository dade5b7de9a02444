
# What a reader may rely on afterwards. Not part of the guide.
PS4="after: "
[ "$(stat -c %U:%G:%a /etc/atomicity-homeserver/config.toml)" = root:atomicity:640 ]
[ "$(stat -c %U:%a /var/lib/atomicity-homeserver)" = atomicity:700 ]
sudo -u atomicity atomicity-homeserver doctor --json | grep -q '"ok":true,"checks"'
man_pages=$(ls /usr/share/man/man1 | grep -c '^atomicity')
[ "$man_pages" -gt 100 ]

echo "the package goes, and says what it keeps"
systemctl stop atomicity-homeserver
said=$(apt-get purge -y atomicity-homeserver | tr -d '\r')
grep -q '^  /var/lib/atomicity-homeserver/secret$' <<<"$said"
grep -q '^  /etc/atomicity-homeserver.env$' <<<"$said"
[ -f /var/lib/atomicity-homeserver/secret ]
[ ! -e /etc/atomicity-homeserver ]
[ ! -e /usr/bin/atomicity-homeserver ]

echo "it comes back with the same key, and starts nothing by itself"
before=$PLUGIN
apt-get install -y ./atomicity-homeserver_*.deb >/dev/null
[ ! -e /run/atomicity-homeserver.pid ]
sudo -u atomicity atomicity-homeserver init | grep -q "$before"

echo "without anything of its own left, it leaves nothing behind"
rm -r /var/lib/atomicity-homeserver /etc/atomicity-homeserver.env
apt-get purge -y atomicity-homeserver >/dev/null
[ ! -e /var/lib/atomicity-homeserver ]
! getent passwd atomicity >/dev/null
service postgresql stop >/dev/null
