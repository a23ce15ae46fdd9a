{{/* The names are fixed: one injector serves a cluster. */}}
{{- define "tidelay.selector" -}}
app.kubernetes.io/name: tidelay
app.kubernetes.io/component: injector
{{- end }}

{{- define "tidelay.helmLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tidelay.labels" -}}
{{ include "tidelay.selector" . }}
{{ include "tidelay.helmLabels" . }}
{{- end }}

{{/* A manifest of manifests/monitoring as it is, but in the release's namespace and with Helm's labels. */}}
{{- define "tidelay.monitoring" -}}
{{- $object := .manifest | fromYaml }}
{{- $_ := set $object.metadata "namespace" .root.Release.Namespace }}
{{- $_ := include "tidelay.helmLabels" .root | fromYaml | merge $object.metadata.labels }}
{{- toYaml $object }}
{{- end }}
