#!/bin/sh
# Makes a small certificate authority of the city and a certificate for the broker's TLS listener.
#   sh deploy/certificates.sh FOLDER NAME [NAME…]     names and addresses under which devices reach the broker
# Writes ca.pem (give it to every device), ca.key (take it off this machine), server.pem and server.key.
# A second run keeps the authority and renews the server's certificate. A city with its own authority needs none of
# this: put its server.pem and server.key into the folder.
set -eu
[ $# -ge 2 ] || { echo "usage: sh $0 FOLDER NAME [NAME…]" >&2; exit 2; }
command -v openssl >/dev/null || { echo "$0: openssl is needed" >&2; exit 1; }
folder=$1
shift
umask 077
mkdir -p "$folder"
cd "$folder"

names=
for name in "$@"; do
  case $name in
    *[!A-Za-z0-9.:-]* | '') echo "$0: '$name' is neither a host name nor an address" >&2; exit 2 ;;
    *[!0-9.]*) case $name in *:*) kind=IP ;; *) kind=DNS ;; esac ;;
    *) kind=IP ;;
  esac
  names="$names${names:+,}$kind:$name"
done

if ! [ -f ca.key ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 3650 \
    -subj "/CN=Lamplighter broker authority" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout ca.key -out ca.pem 2>/dev/null
fi
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/CN=$1" \
  -keyout server.key -out server.csr 2>/dev/null
printf 'subjectAltName=%s\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' \
  "$names" >server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days 397 \
  -extfile server.ext -out server.pem 2>/dev/null
rm -f server.csr server.ext ca.srl
chmod 644 ca.pem
echo "certificate for $names, valid for 397 days, in $folder"
