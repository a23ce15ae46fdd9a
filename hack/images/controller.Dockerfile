FROM scratch
COPY controller /controller
USER 65532:65532
ENTRYPOINT ["/controller"]
