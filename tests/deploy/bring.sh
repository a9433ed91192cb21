#!/usr/bin/env bash
# Puts kubectl or promtool into .venv-deploy/bin: the machine's own, or else one from a package, without installing it.
set -euo pipefail

tool=$1
into=.venv-deploy

ask() {
  echo "$tool is needed: install $1, then run make check-deploy again." >&2
  exit 1
}

# A package of the AWS CDK carries the released kubectl for Linux on x86-64.
bring_kubectl() {
  [ "$(uname -sm)" = "Linux x86_64" ] || ask kubectl
  "$into/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    --target "$scratch" --requirement locks/kubectl.txt
  tar -xzf "$scratch"/aws_cdk/*/_jsii/*.tgz -C "$scratch" package/lib/layer.zip
  "$into/bin/python" -m zipfile -e "$scratch/package/lib/layer.zip" "$scratch"
  mv "$scratch/kubectl/kubectl" "$into/bin/kubectl"
}

# Debian's package of Prometheus, unpacked: installing it would start a server.
bring_promtool() {
  command -v apt-get >/dev/null || ask Prometheus
  (cd "$scratch" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; }) ||
    ask Prometheus
  dpkg-deb --extract "$scratch"/prometheus_*.deb "$scratch"
  mv "$scratch/usr/bin/promtool" "$into/bin/promtool"
}

if own=$(command -v "$tool"); then
  ln -sf "$own" "$into/bin/$tool"
  exit
fi
echo "Bringing $tool into $into"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"bring_$tool"
chmod +x "$into/bin/$tool"
