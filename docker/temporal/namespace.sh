#!/bin/sh
# Makes the namespace and what recordings are filtered by in the UI. A second run finds nothing to do.
set -eu
temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 30d
known=$(temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE")
for attribute in \
  Stage=Keyword Account=Keyword Recorder=Keyword Problem=Keyword \
  DeleteAt=Datetime StartedAt=Datetime Bytes=Int OnHold=Bool; do
  case "$known" in
    *"${attribute%=*}"*) ;;
    *) temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" \
      --name "${attribute%=*}" --type "${attribute#*=}" ;;
  esac
done
