#!/bin/sh
# The host key is made once and kept in a volume: its fingerprint is what a store URL pins (hostkey=SHA256:...).
set -eu
[ -f /etc/ssh/keys/ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/keys/ed25519
printf '%s\n' "${SFTP_AUTHORIZED_KEY:?the public key of the recorders is missing}" >/etc/ssh/keys/authorized_keys
chmod 644 /etc/ssh/keys/authorized_keys
ssh-keygen -lf /etc/ssh/keys/ed25519.pub
exec /usr/sbin/sshd -D -e
