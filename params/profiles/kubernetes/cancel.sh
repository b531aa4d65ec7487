#!/bin/sh
# Delete Kubernetes jobs (the arguments) and their pods.
exec kubectl delete --ignore-not-found --wait=false "$@"
