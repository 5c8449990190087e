#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds kube-apiserver from the distribution's source package, once: later calls find it there.
#
#   build.sh FOLDER     FOLDER/kube-apiserver; some minutes, 2 GB while it builds, no root
#
# Where sources come from is derived from where this machine's packages come from; its own lists stay as they are. The
# package's patches are left out: nobody but tests on this machine ever reaches this server.
set -euo pipefail

mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ ! -x "$folder/kube-apiserver" ] || exit 0
cd "$folder"

# --- the source ---

mkdir -p apt/parts apt/lists/partial apt/cache/archives/partial
for file in /etc/apt/sources.list.d/*.sources; do
	[ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"apt/parts/${file##*/}"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
	[ ! -e "$file" ] || sed -n 's/^deb /deb-src /p' "$file" >"apt/parts/${file##*/}.list"
done
cat >apt/conf <<END
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$folder/apt/parts";
Dir::State::lists "$folder/apt/lists";
Dir::Cache "$folder/apt/cache";
END
export APT_CONFIG=$folder/apt/conf
apt-get update
rm -rf source && mkdir source && cd source
apt-get source --download-only kubernetes
tar --strip-components 1 -xzf kubernetes_*.orig.tar.gz

# --- the program ---

# The compiler of the same distribution: a newer one knows nothing of sources this old. Its own folder is the home of
# all it keeps; the Makefile wants to lie below a GOPATH.
export PATH=/usr/lib/go/bin:$PATH HOME=$folder/home GOPATH=$folder/source/.go CGO_ENABLED=0 GOTOOLCHAIN=local
export GOCACHE=$folder/home/cache GOFLAGS=-p=${VGW_JOBS:-2}
unset GOROOT GO111MODULE
mkdir -p .go/src/k8s.io "$HOME"
ln -s ../../.. .go/src/k8s.io/kubernetes
nice make -C .go/src/k8s.io/kubernetes WHAT=cmd/kube-apiserver
mv _output/bin/kube-apiserver "$folder/kube-apiserver.new"
cd "$folder"
chmod -R u+w source home
rm -rf source home apt
mv kube-apiserver.new kube-apiserver
