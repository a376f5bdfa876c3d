#!/usr/bin/env bash
# Takes single files out of packages, into the root that mmdebstrap is making.
#   parts.sh ROOT LIST DEBS     a line of LIST: a package and the files wanted of it; DEBS keeps packages
set -euo pipefail
root=$1
list=$2
debs=$3
# mmdebstrap's own configuration of apt, so that the packages are of the new root's kind.
export APT_CONFIG=${MMDEBSTRAP_APT_CONFIG:?this is a hook of mmdebstrap}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
while read -r name files; do
  case "$name" in
    linux-image-*) # the package of that name only points to the newest
      name=$(apt-cache depends "$name" | sed -n 's/ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
      ;;
  esac
  # Prints where it is and its file name; downloads only what is not kept yet.
  file=$(apt-get download --print-uris "$name" | cut -d ' ' -f 2)
  if [ ! -s "$debs/$file" ]; then
    (cd "$debs" && apt-get -qq -o APT::Sandbox::User=root download "$name")
  fi
  rm -rf part
  dpkg-deb -x "$debs/$file" part
  read -ra patterns <<< "$files"
  wanted=()
  for pattern in "${patterns[@]}"; do wanted+=(-o -path "./$pattern"); done
  (cd part && find . \( -false "${wanted[@]}" \) ! -type d) > wanted
  if [ ! -s wanted ]; then
    echo "parts.sh: $name has none of: $files" >&2
    exit 1
  fi
  # Debian's merged /usr: a path through /lib must stay a path through the link /lib.
  tar -C part -cf - -T wanted | tar -C "$root" -xf - --keep-directory-symlink --no-same-owner
done < "$list"
