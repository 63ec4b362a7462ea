{{/* KubeRay appends to names and refuses long ones: ours stay short. */}}
{{- define "dataproc.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dataproc.compute" -}}{{ include "dataproc.fullname" . }}-compute{{- end -}}

{{/* KubeRay names a cluster's head service so. */}}
{{- define "dataproc.dashboard" -}}
http://{{ include "dataproc.compute" . }}-head-svc.{{ .Release.Namespace }}.svc:8265
{{- end -}}

{{- define "dataproc.image" -}}
{{- if .Values.image.digest -}}
{{- .Values.image.repository }}@{{ .Values.image.digest -}}
{{- else -}}
{{- .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{/* KubeRay sets app.kubernetes.io/name on its pods, so what we select by is part-of, instance and component. */}}
{{- define "dataproc.selector" -}}
app.kubernetes.io/part-of: dataproc
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "dataproc.labels" -}}
{{ include "dataproc.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}
