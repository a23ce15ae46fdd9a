{{- /* The page docs/api.md: the main template of crd-ref-docs, which hack/generate.sh renders. */ -}}
{{- define "gvList" -}}
{{- range $group := . -}}
# API reference

The kinds of `{{ .GroupVersionString }}`: each field with its type, what it is if it is not given, what is accepted and what it means. `make generate` makes this page from `pkg/apis`; `kubectl explain networkfault.spec` shows the same texts.

{{ range .SortedKinds }}- [{{ . }}](#{{ lower . }})
{{ end }}- [Types](#types)
{{ $parts := list }}
{{- range .SortedKinds }}{{ $kind := $group.TypeForKind . }}
## {{ . }}

{{ template "text" $kind.Doc }}
{{ template "rules" $kind }}
{{- range $kind.Members }}{{ $parts = append $parts .Type.Name }}
### {{ $kind.Name }}.{{ .Name }}

{{ template "text" .Type.Doc }}
{{ template "fields" .Type }}
{{- template "rules" .Type }}
{{- end }}
{{- end }}
## Types
{{- /* Those of fields. A type that is inlined has its fields in the tables of others. */}}
{{ $used := list }}
{{- range .SortedTypes }}{{ range .Members }}{{ $used = append $used (trimSuffix " array" (markdownRenderType .Type) | regexFind "[A-Za-z]+") }}{{ end }}{{ end }}
{{- range .SortedTypes }}{{ if and (has .Name $used) (not (has .Name $parts)) }}
### {{ .Name }}

{{ template "text" .Doc }}
{{ if .Members }}{{ template "fields" . }}
{{- else if .EnumValues }}{{ template "values" . }}
{{- else }}
A {{ template "type" .UnderlyingType }}, {{ template "accepted" (dict "markers" .Markers "known" (dict "kubebuilder:validation:XValidation" true)) }}.
{{ end }}
{{- template "rules" . }}
{{- end }}{{ end }}
{{- end }}
{{- end }}
