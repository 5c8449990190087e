# SPDX-License-Identifier: Apache-2.0
# What the commands of the README share: saying what happens, installing what is missing, building. Sourced by bash.
#
#   say TEXT            a line about what happens now
#   fail TEXT           the last line, on stderr, and exit 1
#   need GROUP...       the packages of these groups of cmake/packages.txt are there, or are installed now
#   build NAME OPTION.. build/NAME is configured and up to date, its words kept in build/logs/NAME-build.log
# shellcheck shell=bash

VGW_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VGW_LOGS=$VGW_ROOT/build/logs
VGW_JOBS=${VGW_JOBS:-$(nproc 2>/dev/null || echo 2)}

say() {
	printf '==> %s\n' "$*"
}

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

# --- packages ----------------------------------------------------------------------------------------------------

is_installed() {
	case $1 in
	command:*) command -v "${1#command:}" >/dev/null 2>&1 ;;
	*) [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
	esac
}

is_any_installed() {
	local name

	for name in ${1//|/ }; do
		is_installed "$name" && return 0
	done
	return 1
}

# Names the packages of the groups that are missing, with their reasons: "name<TAB>reason" lines.
missing_packages() {
	local group names reason line

	while IFS= read -r line; do
		[[ $line =~ ^([a-z]+)[[:space:]]+([^[:space:]]+)[[:space:]]+#[[:space:]](.*)$ ]] || continue
		group=${BASH_REMATCH[1]} names=${BASH_REMATCH[2]} reason=${BASH_REMATCH[3]}
		[[ " $* " == *" $group "* ]] || continue
		is_any_installed "$names" || printf '%s\t%s\n' "${names%%|*}" "$reason"
	done <"$VGW_ROOT/cmake/packages.txt"
}

apt_install() {
	local log=$VGW_LOGS/apt.log

	export DEBIAN_FRONTEND=noninteractive
	: >"$log"
	if [ -z "${VGW_APT_IS_FRESH:-}" ]; then
		apt-get -o DPkg::Lock::Timeout=300 update >>"$log" 2>&1 ||
			say "apt-get update had trouble (see build/logs/apt.log); trying with the lists that are there"
	fi
	apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" >>"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		fail "apt-get could not install: $* (the whole log: build/logs/apt.log)"
	}
}

need() {
	local missing name reason
	local -a names=()

	mkdir -p "$VGW_LOGS"
	if ! command -v dpkg-query >/dev/null 2>&1; then
		say "this is not a Debian system: please see to the packages of cmake/packages.txt yourself"
		return 0
	fi
	missing=$(missing_packages "$@" | sort -u -t $'\t' -k 1,1)
	[ -n "$missing" ] || return 0
	say "missing packages:"
	while IFS=$'\t' read -r name reason; do
		names+=("$name")
		printf '      %-22s %s\n' "$name" "$reason"
	done <<<"$missing"
	[ "$(id -u)" = 0 ] || fail "Please install them, then run this again:
  sudo apt-get install --no-install-recommends ${names[*]}"
	say "installing them with apt-get"
	apt_install "${names[@]}"
}

# --- building ----------------------------------------------------------------------------------------------------

build() {
	local name=$1 folder=$VGW_ROOT/build/$1 log=$VGW_LOGS/$1-build.log

	shift
	mkdir -p "$VGW_LOGS"
	if command -v ccache >/dev/null 2>&1; then
		set -- "$@" -DCMAKE_C_COMPILER_LAUNCHER=ccache
	fi
	if ! cmake -S "$VGW_ROOT" -B "$folder" -G Ninja "$@" >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		printf 'build/%s could not be configured (the whole log: build/logs/%s)\n' "$name" "${log##*/}" >&2
		return 1
	fi
	if ! ninja -C "$folder" -j "$VGW_JOBS" >>"$log" 2>&1; then
		grep -E 'error:|undefined reference|Error ' "$log" | cut -c 1-220 | head -n 30 >&2
		printf 'build/%s could not be built (the whole log: build/logs/%s)\n' "$name" "${log##*/}" >&2
		return 1
	fi
}

# Waits until the file has text, at most $2 tenths of a second, as long as process $3 lives.
wait_for_file() {
	local file=$1 tenths=$2 pid=$3

	while [ ! -s "$file" ]; do
		[ "$tenths" -gt 0 ] && kill -0 "$pid" 2>/dev/null || return 1
		tenths=$((tenths - 1))
		sleep 0.1
	done
}
