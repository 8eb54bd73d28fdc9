# Fits every model with nlme, polishes its optimum on the dense likelihood and writes runs.json; what nlme prints goes to
# standard output. Run in the root of the repository:
#   Rscript contrib/reference-values/nlme/run.R [id ...] > contrib/reference-values/nlme/runs.log
suppressMessages({ library(nlme); library(jsonlite) })
here <- "contrib/reference-values/nlme"
source(file.path(here, "dense.R"))
source(file.path(here, "models.R"))
options(digits = 10, width = 120, contrasts = c("contr.treatment", "contr.poly"))
LC <- lmeControl(maxIter = 500, msMaxIter = 2000, msMaxEval = 20000, niterEM = 100, tolerance = 1e-10, msTol = 1e-14, returnObject = TRUE)
GC <- glsControl(maxIter = 500, msMaxIter = 2000, tolerance = 1e-10, msTol = 1e-14, returnObject = TRUE, opt = "nlminb")
LC1 <- lmeControl(maxIter = 500, msMaxIter = 2000, msMaxEval = 20000, niterEM = 100, tolerance = 1e-10, msTol = 1e-14, returnObject = TRUE, sigma = 1)
GC1 <- glsControl(maxIter = 500, msMaxIter = 2000, tolerance = 1e-10, msTol = 1e-14, returnObject = TRUE, opt = "nlminb", sigma = 1)

read <- function(spec) {
  file <- file.path(here, "data", paste0(spec$data, ".csv"))
  if (!file.exists(file)) file <- file.path("tests/reference/data", paste0(spec$data, ".csv"))
  d <- read.csv(file, na.strings = "NA", stringsAsFactors = FALSE)
  for (name in names(spec$factors)) d[[name]] <- factor(d[[name]], levels = spec$factors[[name]])
  if (!is.null(spec$group)) d[[spec$group]] <- factor(d[[spec$group]], levels = unique(d[[spec$group]]))
  list(file = file, table = spec$prepare(d))
}

model <- function(spec, d) {
  groups <- if (is.null(spec$group)) list(all = seq_len(nrow(d))) else split(seq_len(nrow(d)), d[[spec$group]])
  var <- lapply(spec$var, function(w) {
    x <- if (w[1] == "ident") strata(d, w[-1]) else if (w[2] == "fitted") NULL else d[[w[2]]]
    c(list(type = w[1], x = x, fitted = w[2] == "fitted"), variances(w[1], x))
  })
  cor <- if (is.null(spec$cor)) list(type = "none") else spec$cor
  list(y = model.response(model.frame(spec$fixed, d)), X = model.matrix(spec$fixed, d),
       Z = if (!is.null(spec$random)) model.matrix(spec$random, d), G = spec$G, groups = groups, var = var,
       cor = correlations(cor$type, isTRUE(cor$nugget), cor$levels),
       points = as.matrix(if (is.null(cor$points)) data.frame(row = seq_len(nrow(d))) else d[cor$points]),
       within = if (!is.null(spec$within)) d[[spec$within]], sigma = spec$sigma, reml = spec$method == "REML")
}
strata <- function(d, by) {
  cols <- lapply(d[by], function(x) if (is.factor(x)) x else factor(x, levels = sort(unique(x))))
  if (length(cols) == 1) cols[[1]] else interaction(cols, sep = ":", lex.order = TRUE)
}

# Where nlme stopped, as theta.
start <- function(spec, m, fit) {
  st <- fit$modelStruct
  G <- if (is.null(m$Z)) NULL else unclass(getVarCov(fit))[seq_len(ncol(m$Z)), seq_len(ncol(m$Z)), drop = FALSE]
  theta <- if (is.null(G)) NULL else if (identical(m$G, "compsymm")) c(log(G[1, 1] - G[1, 2]), G[1, 2]) else untri(matrix(G, nrow(G)))
  v <- if (is.null(st$corStruct)) NULL else coef(st$corStruct, unconstrained = FALSE)
  if (identical(spec$cor$type, "symm")) {
    C <- diag(spec$cor$levels)
    C[lower.tri(C)] <- v
    L <- t(chol(C + t(C) - diag(nrow(C))))
    v <- (L / diag(L))[lower.tri(L)]
  }
  vars <- st$varStruct
  scale <- 1
  for (i in seq_along(m$var)) {
    one <- if (inherits(vars, "varComb")) vars[[i]] else vars
    type <- m$var[[i]]$type
    if (type == "ident") {
      ratio <- coef(one, unconstrained = FALSE, allCoef = TRUE)
      names(ratio) <- gsub("*", ":", names(ratio), fixed = TRUE)
      ratio <- ratio[levels(m$var[[i]]$x)]
      scale <- scale * ratio[[1]]
      v <- c(v, ratio[-1] / ratio[[1]])
    } else if (type != "fixed") v <- c(v, coef(one, unconstrained = FALSE))
  }
  pars <- all_pars(m)
  theta <- c(theta, vapply(seq_along(pars), function(i) pars[[i]]$from(v[[i]]), 0))
  if (is.null(m$sigma)) theta <- c(theta, log(fit$sigma * scale))
  as.numeric(theta)
}
largest <- function(x) max(0, abs(x))
on_fitted <- function(m, values) { for (i in seq_along(m$var)) if (m$var[[i]]$fitted) m$var[[i]]$x <- values; m }

run <- function(spec) {
  cat("\n##", spec$id, "\n")
  data <- read(spec)
  d <- data$table
  call <- spec$fit
  call[[2]] <- spec$fixed
  fit <- withCallingHandlers(eval(call, list(d = d), globalenv()),
    warning = function(w) { cat("warning:", conditionMessage(w), "\n"); invokeRestart("muffleWarning") })
  call$control <- NULL
  cat(deparse(call, width.cutoff = 500), "\n", sep = "")
  print(summary(fit))
  m <- model(spec, d)
  uses_fitted <- any(vapply(m$var, function(w) w$fitted, NA))
  m <- on_fitted(m, as.vector(fitted(fit)))
  theta <- start(spec, m, fit)
  at_nlme <- evaluate(m, theta)
  for (i in 1:60) {
    done <- polish(m, theta)
    moved <- largest(done$theta - theta)
    theta <- done$theta
    out <- describe(m, theta)
    if (!uses_fitted || moved < 1e-10) break
    m <- on_fitted(m, out$fitted)
  }
  # other starts: the same maximum, or none better
  set.seed(1)
  others <- if (uses_fitted || !length(theta)) NULL else vapply(1:4, function(i) {
    f <- function(t) { v <- evaluate(m, t); if (is.finite(v)) -v else 1e10 }
    o <- optim(theta + rnorm(length(theta), sd = 0.3), f, method = "BFGS", control = list(maxit = 500, reltol = 1e-12))
    -o$value - out$loglik
  }, 0)
  n <- out$natural
  pars <- n$values
  cor_pars <- as.list(pars[seq_along(m$cor$pars)])
  if (identical(spec$cor$type, "symm")) cor_pars <- list(matrix = symm(unlist(cor_pars), spec$cor$levels))
  rest <- pars[-seq_along(m$cor$pars)]
  if (!length(m$cor$pars)) rest <- pars
  var_pars <- as.list(rest[!grepl("^ratio ", names(rest))])
  ratios <- rest[grepl("^ratio ", names(rest))]
  ident <- Filter(function(w) w$type == "ident", m$var)
  if (length(ident)) var_pars$ratio <- as.list(setNames(c(1, ratios), levels(ident[[1]]$x)))
  se <- sqrt(diag(out$vcov))
  nlme_ll <- as.numeric(logLik(fit))
  cat(sprintf("\nlog-likelihood: nlme %.10f, dense at nlme's estimates %.10f, at the polished ones %.10f\n", nlme_ll, at_nlme, out$loglik))
  if (length(theta)) cat(sprintf("gradient %.2e, smallest eigenvalue of the negative Hessian %.3e\n", done$gradient, done$min_eigen))
  if (length(others)) cat("other starts minus this maximum:", format(others, digits = 3), "\n")
  norm_nlme <- as.vector(residuals(fit, type = "normalized"))
  cat(sprintf("largest differences, nlme minus polished: theta %.2e, fitted %.2e, normalized residuals %.2e\n",
              largest(start(spec, m, fit) - theta), max(abs(fitted(fit) - out$fitted)), max(abs(norm_nlme - out$normalized))))
  inflate <- if (spec$method == "ML" && is.null(spec$sigma)) sqrt(length(m$y) / (length(m$y) - ncol(m$X))) else 1
  nlme_se <- sqrt(diag(vcov(fit)))
  first <- seq_len(5)
  list(
    id = spec$id, data = data$file, call = paste(trimws(deparse(call, width.cutoff = 500)), collapse = " "), reml = m$reml,
    factors = if (length(spec$factors)) spec$factors else setNames(list(), character()), sigma_fixed = !is.null(spec$sigma), note = spec$note,
    expected = list(
      loglik = out$loglik, nobs = length(m$y), fixef = as.list(out$beta), se = as.list(setNames(se, names(out$beta))), sigma = n$sigma,
      G = if (is.null(n$G)) NULL else n$G, correlation = if (length(cor_pars)) cor_pars else NULL,
      variance = if (length(var_pars)) var_pars else NULL,
      fitted = out$fitted[first], normalized = out$normalized[first],
      ranef = if (is.null(out$ranef)) NULL else list(level = rownames(out$ranef)[1], value = I(unname(out$ranef[1, ])))),
    nlme = list(loglik = nlme_ll, fixef = as.list(if (inherits(fit, "lme")) fixef(fit) else coef(fit)), se = as.list(nlme_se),
                sigma = fit$sigma, normalized = norm_nlme[first]),
    check = list(loglik_nlme_minus_polished = nlme_ll - out$loglik, theta_nlme_minus_polished = largest(start(spec, m, fit) - theta),
                 se_nlme_over_polished = range(nlme_se / se), ml_inflation = inflate, max_gradient = done$gradient, min_eigen = done$min_eigen,
                 other_starts = if (length(others)) range(others) else NULL))
}

chosen <- commandArgs(TRUE)
todo <- if (length(chosen)) Filter(function(s) s$id %in% chosen, MODELS) else MODELS
cat(R.version.string, ", nlme ", as.character(packageVersion("nlme")), "\n", sep = "")
results <- list()
for (spec in todo) {
  t0 <- proc.time()[[3]]
  r <- tryCatch(run(spec), error = function(e) { cat("FAILED:", conditionMessage(e), "\n"); NULL })
  message(spec$id, " ", round(proc.time()[[3]] - t0, 1), " s ", if (is.null(r)) "FAILED" else
    sprintf("ll %.8f nlme-polished %.1e theta %.1e grad %.1e eig %.1e se %.6f/%.6f others %s", r$expected$loglik, r$check$loglik_nlme_minus_polished,
            r$check$theta_nlme_minus_polished, r$check$max_gradient, max(r$check$min_eigen, 0), max(r$check$se_nlme_over_polished), r$check$ml_inflation,
            paste(format(r$check$other_starts, digits = 2), collapse = " ")))
  if (!is.null(r)) results[[length(results) + 1]] <- r
}
# The lines of models that were not run stay as they are.
file <- file.path(here, "runs.jsonl")
lines <- if (length(chosen) && file.exists(file)) readLines(file) else character()
names(lines) <- vapply(lines, function(l) fromJSON(l)$id, "", USE.NAMES = FALSE)
for (r in results) lines[[r$id]] <- as.character(toJSON(r, digits = I(15), auto_unbox = TRUE, null = "null", matrix = "rowmajor"))
ids <- vapply(MODELS, function(s) s$id, "")
writeLines(unname(lines[ids[ids %in% names(lines)]]), file)
