#!/usr/bin/env bash
# Send an invoice for each order, once, beside other workers, with curl and jq: bash billing_worker.sh http://127.0.0.1:8000
set -euo pipefail
url=$1
subscription=$url/v1/subscriptions/billing

ask() {  # the answer of a request with a body; waits until the service can be reached
  curl --silent --show-error --noproxy '*' --retry 100 --retry-delay 1 --retry-connrefused --retry-all-errors \
    -H 'content-type: application/json' ${KEY:+-H "authorization: Bearer $KEY"} "$@"
}

ask --fail-with-body -X PUT "$subscription" -d '{"query": {"items": [{"namespaces": ["orders"], "types": ["OrderPlaced"]}]},
  "start": "start", "ack_timeout_seconds": 5}' > /dev/null

while true; do
  ask --fail-with-body "$subscription/claim" -d '{"worker": "shell", "limit": 1, "wait_seconds": 20}' |
    jq --compact-output '.facts[]' | while read -r claimed; do
      lease=$(jq --raw-output .lease <<< "$claimed")
      if [ "$(jq '.fact.payload.total | type' <<< "$claimed")" != '"number"' ]; then
        ask "$subscription/nack" -d "{\"leases\": [\"$lease\"], \"park\": true, \"reason\": \"the order has no total\"}"
      else  # 409 means that another worker has the order by now
        jq '{facts: [{namespace: "billing", type: "InvoiceSent", aggregate_ids: .fact.aggregate_ids,
                      payload: {total: .fact.payload.total, attempt}}],
             acknowledge: {subscription: "billing", leases: [.lease]}}' <<< "$claimed" |
          ask "$url/v1/facts" -d @-
      fi
      echo
    done
done
