{{- /* What gv_list.tpl is made of. */ -}}

{{- /* A type's fields, as a table. */ -}}
{{- define "fields" }}
| field | type | default | accepted | meaning |
|---|---|---|---|---|
{{ range .Members }}| `{{ .Name }}` | {{ template "type" .Type }} | {{ template "default" . }} | {{ template "accepted" (dict "markers" .Markers "known" .Type.Markers) }} | {{ template "cell" .Doc }} |
{{ end }}
{{- end }}

{{- /* A type's named values, as a table. */ -}}
{{- define "values" }}
| value | meaning |
|---|---|
{{ range .EnumValues }}| `{{ .Name }}` | {{ template "cell" .Doc }} |
{{ end }}
{{- end }}

{{- /* In whose words the API server refuses an object. */ -}}
{{- define "rules" }}
{{- with index .Markers "kubebuilder:validation:XValidation" }}
Refused with these words:

{{ range . }}- {{ template "cell" .Message }}
{{ end }}
{{- end }}
{{- end }}

{{- /* The type of a field, with a link to one of ours. */ -}}
{{- define "type" -}}
{{- $text := markdownRenderType . | replace "float" "number" -}}
{{- if hasSuffix " array" $text }}list of {{ $text = trimSuffix " array" $text }}{{ end -}}
{{- if contains "[IntOrString]" $text }}`integer` or `string`{{ else }}{{ $text }}{{ end -}}
{{- end }}

{{- define "default" -}}
{{- with index .Markers "kubebuilder:default" }}`{{ toJson (index . 0).Value }}`{{ end -}}
{{- end }}

{{- /* What is accepted of a field or a type. What the field's type accepts is told there. */ -}}
{{- define "accepted" -}}
{{- $all := list -}}
{{- $known := .known -}}
{{- range $name, $values := .markers -}}
{{- $value := index $values 0 -}}
{{- $rule := trimPrefix "kubebuilder:validation:" $name -}}
{{- if index $known $name -}}
{{- else if eq $rule "MinItems" "MinLength" }}{{ $all = prepend $all (ternary "not empty" (printf "at least %d" $value) (eq (int $value) 1)) -}}
{{- else if eq $rule "MaxItems" }}{{ $all = append $all (printf "at most %d" $value) -}}
{{- else if eq $rule "MaxLength" }}{{ $all = append $all (printf "at most %d characters" $value) -}}
{{- else if eq $rule "Minimum" }}{{ $all = prepend $all (printf "at least %.0f" $value) -}}
{{- else if eq $rule "ExclusiveMinimum" }}{{ $all = append $all "above 0" -}}
{{- else if eq $rule "Maximum" }}{{ $all = append $all (printf "at most %.0f" $value) -}}
{{- else if eq $rule "Enum" }}{{ $names := list }}{{ range $value }}{{ $names = append $names (printf "`%s`" .) }}{{ end }}{{ $all = append $all (join ", " $names) -}}
{{- else if eq $rule "XValidation" "items:XValidation" }}{{ range $values }}{{ $all = append $all (trimPrefix "want " .Message) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with index .markers "required" }}{{ $all = prepend $all "**required**" }}{{ end -}}
{{- template "cell" (join "; " $all) -}}
{{- end }}

{{- /* A text as it is written, and one in one line. What is quoted in it becomes code. */ -}}
{{- define "text" }}{{ regexReplaceAll `"([^"\n]*)"` . "`$1`" }}{{ end }}
{{- define "cell" }}{{ regexReplaceAll `"([^"]*)"` . "`$1`" | replace "\n" " " | replace "|" "\\|" | trim }}{{ end }}
