#!/bin/sh
# MLflow with accounts. Its auth app takes the address of its database, password included, from a file only.
set -eu
umask 077
config=$(mktemp)
cat > "$config" <<INI
[mlflow]
default_permission = READ
database_uri = $AUTH_DATABASE_URI
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
INI
export MLFLOW_AUTH_CONFIG_PATH="$config"
exec mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 --workers 2 \
  --allowed-hosts "mlflow:5000,localhost:5000,127.0.0.1:5000"
