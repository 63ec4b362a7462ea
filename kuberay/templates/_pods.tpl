{{- define "dataproc.databases" -}}
- name: DATAPROC_METADATA_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.databases.metadata.secretName }}
      key: {{ .Values.databases.metadata.key }}
- name: DATAPROC_WAREHOUSE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.databases.warehouse.secretName }}
      key: {{ .Values.databases.warehouse.key }}
{{- end -}}

{{/* Who is told of events; the URL may hold a token, so only the process that delivers them gets it. */}}
{{- define "dataproc.events" -}}
{{- with .Values.events.secretName -}}
- name: DATAPROC_EVENTS_URL
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.events.key }}
{{- end -}}
{{- end -}}

{{- define "dataproc.settings" -}}
{{- range $name, $value := .Values.settings }}
{{- /* To Helm every number is a float, and it would write large ones as 2e+06. */}}
{{- $whole := and (kindIs "float64" $value) (eq $value (floor $value)) }}
- name: {{ $name }}
  value: {{ ternary (int64 $value) $value $whole | quote }}
{{- end }}
{{- end -}}

{{- define "dataproc.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dataproc.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "dataproc.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A pod of Ray. Takes root, component, container, place (api or compute), resources, automount and env. */}}
{{- define "dataproc.rayPod" -}}
metadata:
  # No version here: a new label alone would replace every pod.
  labels: {{- include "dataproc.selector" . | nindent 4 }}
  annotations:
    # Ray pods hold running work: nodes are emptied by Ray's own autoscaler, by nobody else.
    karpenter.sh/do-not-disrupt: "true"
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
spec:
  serviceAccountName: {{ include "dataproc.fullname" .root }}-{{ .component }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  automountServiceAccountToken: {{ .automount }}
  terminationGracePeriodSeconds: 60
  securityContext: {{- include "dataproc.podSecurity" . | nindent 4 }}
  {{- include "dataproc.placement" .place | nindent 2 }}
  containers:
    - name: {{ .container }}
      image: {{ include "dataproc.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      env:
        {{- include "dataproc.databases" .root | nindent 8 }}
        - name: DATAPROC_RAY_ADDRESS
          value: auto
        - name: DATAPROC_RAY_DASHBOARD_URL
          value: {{ include "dataproc.dashboard" .root }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- include "dataproc.settings" .root | nindent 8 }}
      {{- with .root.Values.envFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      resources: {{- toYaml .resources | nindent 8 }}
      securityContext: {{- include "dataproc.containerSecurity" . | nindent 8 }}
{{- end -}}

{{- define "dataproc.rayAuth" -}}
mode: {{ .Values.ray.auth.mode }}
{{- with .Values.ray.auth.secretName }}
secretName: {{ . }}
{{- end }}
{{- end -}}
