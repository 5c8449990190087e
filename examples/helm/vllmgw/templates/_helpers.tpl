{{/* Name of everything that belongs to the gateway itself. */}}
{{- define "vllmgw.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* Name of a model's workload and service, from (dict "root" $ "model" model). */}}
{{- define "vllmgw.workload" -}}
{{ printf "%s-%s" (include "vllmgw.fullname" .root | trunc 20 | trimSuffix "-") (regexReplaceAll "[^a-z0-9]+" (lower .model.name) "-" | trimPrefix "-" | trunc 36 | trimSuffix "-") }}
{{- end -}}

{{- define "vllmgw.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "vllmgw.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "vllmgw.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "vllmgw.fullname" .) }}
{{- end -}}

{{/* "true" when the gateway scales something, else nothing. */}}
{{- define "vllmgw.hasOnDemand" -}}
{{- $has := "" -}}
{{- range .Values.models }}{{ if .onDemand }}{{ $has = "true" }}{{ end }}{{ end -}}
{{- $has -}}
{{- end -}}

{{/* Seconds a stopping pod goes on serving, until nobody sends it requests any more; 0 where pods cannot sleep. */}}
{{- define "vllmgw.preStop" -}}
{{- ternary .Values.gateway.preStopSeconds 0 (semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version) -}}
{{- end -}}

{{/* What a release cannot be, said before anything is made. */}}
{{- define "vllmgw.check" -}}
{{- $seen := dict -}}
{{- range .Values.models -}}
{{- $workload := include "vllmgw.workload" (dict "root" $ "model" .) -}}
{{- if hasKey $seen $workload -}}
{{- fail (printf "models '%s' and '%s' would both be called %s in the cluster; rename one of them" (get $seen $workload) .name $workload) -}}
{{- end -}}
{{- $_ := set $seen $workload .name -}}
{{- if and .url .onDemand -}}
{{- fail (printf "model '%s' has a url: somebody else runs it, so it cannot be onDemand" .name) -}}
{{- end -}}
{{- end -}}
{{- if and (include "vllmgw.hasOnDemand" .) (gt (int .Values.gateway.replicas) 1) -}}
{{- fail "models with onDemand need gateway.replicas: 1, as two gateways would scale the same engines against each other" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.gateway.adminKeySecret.name) -}}
{{- fail "serviceMonitor needs gateway.adminKeySecret: without a key /metrics answers its own pod only" -}}
{{- end -}}
{{- end -}}

{{/* vllmgw.yaml without gateway.config. */}}
{{- define "vllmgw.config" -}}
listen: 0.0.0.0:8080
state_dir: /var/lib/vllmgw
{{- if .Values.gateway.adminKeySecret.name }}
admin: {key: "${VLLMGW_ADMIN_KEY}"}
{{- end }}
log: {format: json}
timeouts: {drain: {{ .Values.gateway.drainSeconds }}s}
residency:
  max_resident: {{ .Values.residency.maxResident }}
  policy: {{ .Values.residency.policy }}
  max_wait: {{ .Values.residency.maxWait }}
  idle_ttl: {stop: {{ .Values.residency.idleStop | default "null" }}}
  on_exit: leave
{{- with .Values.defaultModel }}
default_model: {{ . | quote }}
{{- end }}
models:
{{- range $i, $model := .Values.models }}
{{- $workload := include "vllmgw.workload" (dict "root" $ "model" $model) }}
{{- $engine := merge (deepCopy (omit $model "name" "url")) $.Values.engine }}
  {{ $model.name | quote }}:
    {{- with $model.aliases }}
    aliases: {{ toJson . }}
    {{- end }}
    {{- with $model.servedName }}
    served_name: {{ . | quote }}
    {{- end }}
    {{- if $model.onDemand }}
    backend:
      kind: kubernetes
      namespace: {{ $.Release.Namespace }}
      deployment: {{ $workload }}
      service: {{ $workload }}
      replicas: {{ $model.replicas | default 1 }}
      port: {{ $engine.port }}
      start_timeout: {{ $engine.startTimeout }}
      stop_timeout: {{ add $engine.stopSeconds 60 }}s
    {{- else }}
    backend:
      kind: static
      urls: [{{ $model.url | default (printf "http://%s.%s.svc:%v" $workload $.Release.Namespace $engine.port) | quote }}]
      {{- if $model.apiKeySecret }}
      api_key: "${MODEL_{{ $i }}_KEY}"
      {{- end }}
    {{- end }}
{{- else }} {}
{{- end }}
{{- end -}}

{{/* Amounts as texts: some ways to apply objects (server-side apply) refuse a number such as nvidia.com/gpu: 1. */}}
{{- define "vllmgw.resources" -}}
{{- $resources := deepCopy (. | default dict) -}}
{{- range $kind := list "limits" "requests" -}}
{{- range $name, $amount := get $resources $kind | default dict -}}
{{- $_ := set (get $resources $kind) $name (toString $amount) -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* For who has no business in a container's surroundings. */}}
{{- define "vllmgw.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "vllmgw.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
