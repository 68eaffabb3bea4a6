#!/usr/bin/env bash
# The tests named `bucket_…` of stores.rs on Ceph: one monitor, one OSD in memory and a radosgw, in a scratch folder, on loopback.
# Needs curl and, on Debian, `apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common`.
# More arguments go to the test binary.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in ceph-mon ceph-osd radosgw radosgw-admin ceph-authtool monmaptool curl; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: see the head of $0" >&2; exit 1; }
done

dir=$(mktemp -d)
pids=()
end() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$dir"
}
trap end EXIT

free_port() {
  while :; do
    local port=$((15000 + RANDOM % 15000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}
mon_port=$(free_port)
port=$(free_port)
fsid=$(cat /proc/sys/kernel/random/uuid)
osd=$(cat /proc/sys/kernel/random/uuid)
keys=$dir/keyring
mkdir "$dir"/{mon,osd,rgw,run,log}

ceph-authtool --create-keyring "$keys" --gen-key -n mon. --cap mon 'allow *'
ceph-authtool "$keys" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
ceph-authtool "$keys" --gen-key -n client.rgw --cap mon 'allow rwx' --cap osd 'allow rwx'
ceph-authtool "$keys" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $fsid
mon initial members = a
mon host = [v2:127.0.0.1:$mon_port/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $keys
run dir = $dir/run
admin socket = $dir/run/\$name.\$pid.asok
pid file = $dir/run/\$name.\$pid.pid
log file = $dir/log/\$name.log
mon data = $dir/mon
osd data = $dir/osd
rgw data = $dir/rgw
osd pool default size = 1
mon allow pool size one = true
osd crush chooseleaf type = 0
osd pool default pg num = 4
osd pool default pgp num = 4
osd objectstore = memstore
memstore device bytes = 4294967296
osd class load list = *
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
CONF
export CEPH_CONF=$dir/ceph.conf

monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port]" "$dir/monmap" >/dev/null
ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$keys"
ceph-mon -i a -f >"$dir/log/mon.out" 2>&1 &
pids+=($!)
timeout 60 ceph osd new "$osd" >/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$osd" --keyring "$keys" >"$dir/log/mkfs.out" 2>&1
timeout 60 ceph osd crush add osd.0 1 root=default host=here >/dev/null 2>&1
ceph-osd -i 0 -f >"$dir/log/osd.out" 2>&1 &
pids+=($!)
radosgw -n client.rgw -f >"$dir/log/rgw.out" 2>&1 &
pids+=($!)
timeout 120 radosgw-admin -n client.rgw user create --uid stele --display-name stele --access-key key --secret-key secret >/dev/null 2>&1
until curl -s -o /dev/null "http://127.0.0.1:$port"; do
  kill -0 "${pids[2]}" || { cat "$dir/log/rgw.out" >&2; exit 1; }
  sleep 0.2
done
curl -sf --aws-sigv4 aws:amz:default:s3 -u key:secret -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -X PUT "http://127.0.0.1:$port/stele-tests"
radosgw --version

export STELE_TEST_BUCKET=s3://stele-tests/test AWS_ENDPOINT=http://127.0.0.1:$port AWS_ALLOW_HTTP=true AWS_REGION=default
export AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret
cargo test -p stele --test stores -- --ignored --test-threads 1 bucket_ "$@"
