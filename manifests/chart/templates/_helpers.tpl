{{/* The names are fixed, because one installation serves a cluster. */}}
{{- define "tidelay.injector.selector" -}}
app.kubernetes.io/name: tidelay
app.kubernetes.io/component: injector
{{- end }}

{{- define "tidelay.controller.selector" -}}
app.kubernetes.io/name: tidelay
app.kubernetes.io/component: controller
{{- end }}

{{- define "tidelay.helmLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tidelay.injector.labels" -}}
{{ include "tidelay.injector.selector" . }}
{{ include "tidelay.helmLabels" . }}
{{- end }}

{{- define "tidelay.controller.labels" -}}
{{ include "tidelay.controller.selector" . }}
{{ include "tidelay.helmLabels" . }}
{{- end }}

{{/* What the pods of both Deployments have in common; "selector" selects the pods to spread. */}}
{{- define "tidelay.podSpec" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.priorityClass.name }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - labelSelector:
      matchLabels:
        {{- $.selector | nindent 8 }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/*
A manifest of manifests/monitoring as it is, but in the release's namespace and with Helm's labels. Nothing for one of
the controller's where there is no controller.
*/}}
{{- define "tidelay.monitoring" -}}
{{- $object := .manifest | fromYaml }}
{{- if or .root.Values.controller.enabled (ne "controller" (index $object.metadata.labels "app.kubernetes.io/component" | default "")) }}
{{- $_ := set $object.metadata "namespace" .root.Release.Namespace }}
{{- $_ := include "tidelay.helmLabels" .root | fromYaml | merge $object.metadata.labels }}
{{- toYaml $object }}
{{- end }}
{{- end }}
