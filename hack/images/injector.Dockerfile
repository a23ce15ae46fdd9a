FROM scratch
COPY injector /injector
USER 65532:65532
ENTRYPOINT ["/injector"]
